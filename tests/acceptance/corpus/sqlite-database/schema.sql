CREATE TABLE words (number INTEGER PRIMARY KEY, word BLOB, made TEXT DEFAULT (strftime('%Y-%m-%d %H:%M:%f')));
INSERT INTO words (number, word)
  WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 50)
  SELECT abs(random()) % 1000000000 + n, randomblob(16) FROM counted;
DELETE FROM words WHERE number % 3 = 0;
CREATE INDEX by_word ON words (word);
VACUUM;
CREATE TABLE shuffled AS SELECT * FROM words ORDER BY random();
