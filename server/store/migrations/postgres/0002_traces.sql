-- What entries of the log are about, so that an operator finds them by the identifier that an agent was shown: a decision
-- or a session. `refused` marks entries that say a call was refused.

CREATE TABLE traces (
    id      TEXT COLLATE "C" NOT NULL,
    idx     BIGINT NOT NULL REFERENCES log (idx),
    refused BIGINT NOT NULL CHECK (refused IN (0, 1)),
    PRIMARY KEY (id, idx)
);
CREATE INDEX traces_refused ON traces (idx) WHERE refused = 1;

