-- Moments are milliseconds since 1970, identifiers are ULIDs, lists are JSON. No column ever holds a secret value:
-- tokens are digests, keys are sealed references, credentials are bindings.

CREATE TABLE meta (
    id           BIGINT PRIMARY KEY CHECK (id = 1),
    trust_domain TEXT   NOT NULL,
    epoch        BLOB   NOT NULL CHECK (length(epoch) = 16),
    version      BIGINT NOT NULL CHECK (version > 0),
    created_ms   BIGINT NOT NULL
);

CREATE TABLE agents (
    name       TEXT   PRIMARY KEY NOT NULL,
    owner      TEXT   NOT NULL CHECK (owner <> ''),
    nodes      TEXT   NOT NULL CHECK (nodes <> '[]'),
    selectors  TEXT   NOT NULL CHECK (selectors <> '[]'),
    x509_ttl_s BIGINT NOT NULL,
    jwt_ttl_s  BIGINT NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE TABLE tokens (
    digest     BLOB   PRIMARY KEY NOT NULL CHECK (length(digest) = 32),
    node       TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    used_with  BLOB   CHECK (used_with IS NULL OR length(used_with) = 32)
);

CREATE TABLE nodes (
    name            TEXT   PRIMARY KEY NOT NULL,
    attestor        TEXT   NOT NULL,
    spiffe_id       TEXT   NOT NULL UNIQUE,
    selectors       TEXT   NOT NULL,
    joined_ms       BIGINT NOT NULL,
    serial          BLOB   NOT NULL CHECK (length(serial) = 16),
    serial_seen     BIGINT NOT NULL CHECK (serial_seen IN (0, 1)),
    previous_serial BLOB   CHECK (previous_serial IS NULL OR length(previous_serial) = 16),
    svid_expires_ms BIGINT NOT NULL,
    banned_ms       BIGINT
);

CREATE TABLE credentials (
    name       TEXT   PRIMARY KEY NOT NULL,
    source     TEXT   NOT NULL,
    binding    BLOB   NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE TABLE grants (
    id         TEXT   PRIMARY KEY NOT NULL,
    agent      TEXT   NOT NULL REFERENCES agents (name),
    credential TEXT   NOT NULL REFERENCES credentials (name),
    created_ms BIGINT NOT NULL,
    UNIQUE (agent, credential)
);

CREATE TABLE locks (
    id         TEXT   PRIMARY KEY NOT NULL,
    agent      TEXT   NOT NULL REFERENCES agents (name),
    reason     TEXT   NOT NULL,
    author     TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    ended_ms   BIGINT
);
CREATE INDEX locks_standing ON locks (id) WHERE ended_ms IS NULL;

CREATE TABLE authorities (
    id             TEXT   PRIMARY KEY NOT NULL,
    purpose        TEXT   NOT NULL CHECK (purpose IN ('x509', 'jwt', 'log')),
    state          TEXT   NOT NULL CHECK (state IN ('prepared', 'active', 'old')),
    reference      BLOB   NOT NULL,
    public         BLOB   NOT NULL,
    created_ms     BIGINT NOT NULL,
    not_after_ms   BIGINT NOT NULL,
    last_expiry_ms BIGINT NOT NULL
);
-- However many issuers rotate at once, one authority of a purpose signs.
CREATE UNIQUE INDEX authorities_one_active ON authorities (purpose) WHERE state = 'active';

CREATE TABLE instances (
    id         TEXT   PRIMARY KEY NOT NULL,
    agent      TEXT   NOT NULL REFERENCES agents (name),
    node       TEXT   NOT NULL REFERENCES nodes (name),
    started_ms BIGINT NOT NULL,
    ended_ms   BIGINT
);
CREATE INDEX instances_live ON instances (node) WHERE ended_ms IS NULL;

CREATE TABLE svids (
    id           TEXT   PRIMARY KEY NOT NULL,
    agent        TEXT   NOT NULL,
    instance     TEXT   NOT NULL,
    node         TEXT   NOT NULL,
    authority    TEXT   NOT NULL,
    not_after_ms BIGINT NOT NULL
);
CREATE INDEX svids_by_agent ON svids (agent, not_after_ms);
CREATE INDEX svids_by_end ON svids (not_after_ms);

CREATE TABLE log (
    idx   BIGINT PRIMARY KEY NOT NULL,
    entry BLOB   NOT NULL,
    leaf  BLOB   NOT NULL CHECK (length(leaf) = 32)
);

CREATE TABLE checkpoints (
    size       BIGINT PRIMARY KEY NOT NULL,
    note       TEXT   NOT NULL,
    peaks      BLOB   NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE TABLE commitments (
    digest BLOB PRIMARY KEY NOT NULL CHECK (length(digest) = 32),
    salt   BLOB NOT NULL CHECK (length(salt) = 16),
    value  TEXT NOT NULL
);

CREATE TABLE spools (
    id        BLOB   PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    node      TEXT   NOT NULL REFERENCES nodes (name),
    next      BIGINT NOT NULL,
    head      BLOB   NOT NULL CHECK (length(head) = 32),
    opened_ms BIGINT NOT NULL,
    closed_ms BIGINT
);
-- A node has one spool at a time.
CREATE UNIQUE INDEX spools_one_open ON spools (node) WHERE closed_ms IS NULL;

CREATE TABLE spool_records (
    spool  BLOB   NOT NULL REFERENCES spools (id),
    seq    BIGINT NOT NULL,
    digest BLOB   NOT NULL CHECK (length(digest) = 32),
    PRIMARY KEY (spool, seq)
);
