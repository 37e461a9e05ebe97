-- Messages that came back to their sender: sent once more, they are delivered once more (XEP-0359).
CREATE TABLE returned (
    seq  INTEGER PRIMARY KEY
);
