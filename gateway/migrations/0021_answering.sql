-- Whose calls an account's phones may answer by themselves: addresses, a space between them.
ALTER TABLE call_settings ADD COLUMN answers TEXT NOT NULL DEFAULT '';
