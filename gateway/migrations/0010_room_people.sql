-- The rooms of a person are looked for when its account is removed, not only those that it owns.
DROP INDEX room_people_owners;
CREATE INDEX room_people_rooms ON room_people (person, affiliation);
