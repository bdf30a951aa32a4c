-- The same as for SQLite. Texts are compared by their bytes, as everything else does.
-- Moments are milliseconds since 1970, identifiers are ULIDs, lists are JSON. No column ever holds a secret value:
-- tokens are digests, keys are sealed references, credentials are bindings.

CREATE TABLE meta (
    id           BIGINT PRIMARY KEY CHECK (id = 1),
    trust_domain TEXT COLLATE "C" NOT NULL,
    epoch        BYTEA  NOT NULL CHECK (length(epoch) = 16),
    version      BIGINT NOT NULL CHECK (version > 0),
    created_ms   BIGINT NOT NULL
);

CREATE TABLE agents (
    name       TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    owner      TEXT COLLATE "C" NOT NULL CHECK (owner <> ''),
    nodes      TEXT COLLATE "C" NOT NULL CHECK (nodes <> '[]'),
    selectors  TEXT COLLATE "C" NOT NULL CHECK (selectors <> '[]'),
    x509_ttl_s BIGINT NOT NULL,
    jwt_ttl_s  BIGINT NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE TABLE tokens (
    digest     BYTEA  PRIMARY KEY NOT NULL CHECK (length(digest) = 32),
    node       TEXT COLLATE "C" NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    used_with  BYTEA  CHECK (used_with IS NULL OR length(used_with) = 32)
);

CREATE TABLE nodes (
    name            TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    attestor        TEXT COLLATE "C" NOT NULL,
    spiffe_id       TEXT COLLATE "C" NOT NULL UNIQUE,
    selectors       TEXT COLLATE "C" NOT NULL,
    joined_ms       BIGINT NOT NULL,
    serial          BYTEA  NOT NULL CHECK (length(serial) = 16),
    serial_seen     BIGINT NOT NULL CHECK (serial_seen IN (0, 1)),
    previous_serial BYTEA  CHECK (previous_serial IS NULL OR length(previous_serial) = 16),
    svid_expires_ms BIGINT NOT NULL,
    banned_ms       BIGINT
);

CREATE TABLE credentials (
    name       TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    source     TEXT COLLATE "C" NOT NULL,
    binding    BYTEA  NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE TABLE grants (
    id         TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    agent      TEXT COLLATE "C" NOT NULL REFERENCES agents (name),
    credential TEXT COLLATE "C" NOT NULL REFERENCES credentials (name),
    created_ms BIGINT NOT NULL,
    UNIQUE (agent, credential)
);

CREATE TABLE locks (
    id         TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    agent      TEXT COLLATE "C" NOT NULL REFERENCES agents (name),
    reason     TEXT COLLATE "C" NOT NULL,
    author     TEXT COLLATE "C" NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    ended_ms   BIGINT
);
CREATE INDEX locks_standing ON locks (id) WHERE ended_ms IS NULL;

CREATE TABLE authorities (
    id             TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    purpose        TEXT COLLATE "C" NOT NULL CHECK (purpose IN ('x509', 'jwt', 'log')),
    state          TEXT COLLATE "C" NOT NULL CHECK (state IN ('prepared', 'active', 'old')),
    reference      BYTEA  NOT NULL,
    public         BYTEA  NOT NULL,
    created_ms     BIGINT NOT NULL,
    not_after_ms   BIGINT NOT NULL,
    last_expiry_ms BIGINT NOT NULL
);
-- However many issuers rotate at once, one authority of a purpose signs.
CREATE UNIQUE INDEX authorities_one_active ON authorities (purpose) WHERE state = 'active';

CREATE TABLE instances (
    id         TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    agent      TEXT COLLATE "C" NOT NULL REFERENCES agents (name),
    node       TEXT COLLATE "C" NOT NULL REFERENCES nodes (name),
    started_ms BIGINT NOT NULL,
    ended_ms   BIGINT
);
CREATE INDEX instances_live ON instances (node) WHERE ended_ms IS NULL;

CREATE TABLE svids (
    id           TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    agent        TEXT COLLATE "C" NOT NULL,
    instance     TEXT COLLATE "C" NOT NULL,
    node         TEXT COLLATE "C" NOT NULL,
    authority    TEXT COLLATE "C" NOT NULL,
    not_after_ms BIGINT NOT NULL
);
CREATE INDEX svids_by_agent ON svids (agent, not_after_ms);
CREATE INDEX svids_by_end ON svids (not_after_ms);

CREATE TABLE log (
    idx   BIGINT PRIMARY KEY NOT NULL,
    entry BYTEA  NOT NULL,
    leaf  BYTEA  NOT NULL CHECK (length(leaf) = 32),
    -- Of which transaction it is: how a commit whose answer was lost is found.
    tx    BYTEA  NOT NULL CHECK (length(tx) = 16)
);

CREATE TABLE checkpoints (
    size       BIGINT PRIMARY KEY NOT NULL,
    note       TEXT COLLATE "C" NOT NULL,
    peaks      BYTEA  NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE TABLE commitments (
    digest BYTEA PRIMARY KEY NOT NULL CHECK (length(digest) = 32),
    salt   BYTEA NOT NULL CHECK (length(salt) = 16),
    value  TEXT COLLATE "C" NOT NULL
);

CREATE TABLE spools (
    id        BYTEA  PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    node      TEXT COLLATE "C" NOT NULL REFERENCES nodes (name),
    next      BIGINT NOT NULL,
    head      BYTEA  NOT NULL CHECK (length(head) = 32),
    opened_ms BIGINT NOT NULL,
    closed_ms BIGINT
);
-- A node has one spool at a time.
CREATE UNIQUE INDEX spools_one_open ON spools (node) WHERE closed_ms IS NULL;

CREATE TABLE spool_records (
    spool  BYTEA  NOT NULL REFERENCES spools (id),
    seq    BIGINT NOT NULL,
    digest BYTEA  NOT NULL CHECK (length(digest) = 32),
    PRIMARY KEY (spool, seq)
);
