-- An unanswered request to see somebody is kept as it was said (RFC 6121 section 3.1.3).
ALTER TABLE roster_pending ADD COLUMN stanza BLOB;
