-- What entries of the log are about, so that an operator finds them by the identifier that an agent was shown: a decision
-- or a session. `refused` marks entries that say a call was refused.

CREATE TABLE traces (
    id      TEXT   NOT NULL,
    idx     BIGINT NOT NULL REFERENCES log (idx),
    refused BIGINT NOT NULL CHECK (refused IN (0, 1)),
    PRIMARY KEY (id, idx)
) WITHOUT ROWID;
CREATE INDEX traces_refused ON traces (idx) WHERE refused = 1;

INSERT INTO traces (id, idx, refused)
SELECT coalesce(event ->> 'decision', event ->> 'session'), idx,
       event ->> 'code' = 'broker.denied' OR (event ->> 'code' = 'broker.outcome' AND event ->> '$.outcome.end' = 'error')
FROM (SELECT idx, CAST(entry AS TEXT) -> '$.record.event' AS event FROM log)
WHERE event ->> 'code' IN ('broker.denied', 'broker.intent', 'broker.outcome', 'session.opened', 'session.closed');
