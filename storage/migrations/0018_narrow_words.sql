-- What a text finds is read by the thousand for the ids alone, so words stand beside their row, in its TOAST table, and
-- fifty rows are on a page instead of eight. Postgres moves a value out only of a row that is longer than 2,000 bytes
-- when it is written, and then until the target is met: `padding` makes every row so long, and ends as 30 bytes, for it
-- is compressed. It is made of `words`, so that an update of them makes it anew. Adding it writes the table anew.

ALTER TABLE issue_words ALTER words SET STORAGE EXTERNAL, SET (toast_tuple_target = 128);
ALTER TABLE issue_words ADD COLUMN padding text NOT NULL
    GENERATED ALWAYS AS (repeat(' ', 2000 + 0 * length(words))) STORED;
