-- Where in its source a credential's value lies. What there was before lies in the sealed store, which needs none.
ALTER TABLE credentials ADD COLUMN reference TEXT COLLATE "C" NOT NULL DEFAULT '';
