-- What a registration may say besides who may be the agent. An agent that is deleted stays as a row: locks and
-- instances of it are remembered, and a lock on its name goes on. A node that is evicted stays for its spools.

ALTER TABLE agents ADD COLUMN id_path TEXT NOT NULL DEFAULT '/agent/{agent}';
ALTER TABLE agents ADD COLUMN hint TEXT NOT NULL DEFAULT '';
ALTER TABLE agents ADD COLUMN common_name TEXT NOT NULL DEFAULT '';
-- Separated by spaces.
ALTER TABLE agents ADD COLUMN dns_names TEXT NOT NULL DEFAULT '';
ALTER TABLE agents ADD COLUMN deleted_ms BIGINT;

ALTER TABLE nodes ADD COLUMN evicted_ms BIGINT;

CREATE INDEX svids_by_node ON svids (node, not_after_ms);
