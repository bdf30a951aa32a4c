-- Where agents may go with tokens of their own, and the sequence number of the published bundle.

CREATE TABLE targets (
    agent      TEXT COLLATE "C" NOT NULL REFERENCES agents (name),
    vendor     TEXT COLLATE "C" NOT NULL,
    audience   TEXT COLLATE "C" NOT NULL CHECK (audience <> ''),
    settings   TEXT COLLATE "C" NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (agent, vendor)
);

CREATE TABLE published (
    id       BIGINT PRIMARY KEY CHECK (id = 1),
    sequence BIGINT NOT NULL CHECK (sequence > 0)
);
INSERT INTO published (id, sequence) VALUES (1, 1);
