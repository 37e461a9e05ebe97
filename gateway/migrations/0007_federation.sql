-- Agreements to be seen that were given before they were asked for (RFC 6121 section 3.4).
ALTER TABLE roster_items ADD COLUMN approved INTEGER NOT NULL DEFAULT 0;
