-- Subscriptions that wait for the approval of a node's owner (XEP-0060 section 8.6).
ALTER TABLE pubsub_nodes ADD COLUMN pending TEXT NOT NULL DEFAULT '[]';
