-- Issuers that share this database: which are there, which nodes are connected to each, and which of them leads. What
-- an issuer says here about itself is no change of the state and is not recorded.

CREATE TABLE issuers (
    id         BYTEA  PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    address    TEXT COLLATE "C" NOT NULL,
    started_ms BIGINT NOT NULL,
    -- The database's time when it last read the state: no node of its knows a younger one.
    seen_ms    BIGINT NOT NULL
);

CREATE TABLE presence (
    issuer   BYTEA  NOT NULL REFERENCES issuers (id) ON DELETE CASCADE,
    node     TEXT COLLATE "C" NOT NULL,
    streams  BIGINT NOT NULL CHECK (streams >= 0),
    applied  BIGINT NOT NULL CHECK (applied >= 0),
    heard_ms BIGINT,
    PRIMARY KEY (issuer, node)
);

CREATE TABLE leaders (
    role     TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    holder   BYTEA  NOT NULL CHECK (length(holder) = 16),
    -- One more with each holder. What a former one still wants to write is refused by it.
    fence    BIGINT NOT NULL CHECK (fence > 0),
    until_ms BIGINT NOT NULL
);
