-- A request is a row of numbers, `entry`. The names that go with it are in `caller` and `course`, once
-- for each day that rows with them are of (and again, where a process had forgotten that they are
-- there). The view `request` shows all of it together. An id is never another name's, so that a row
-- whose names somebody removed is without any.
CREATE TABLE caller (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  day INTEGER NOT NULL,
  user TEXT,
  key TEXT,
  tags TEXT
) STRICT;

CREATE TABLE course (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  day INTEGER NOT NULL,
  operation TEXT NOT NULL,
  asked_model TEXT,
  provider TEXT,
  provider_key TEXT,
  model TEXT,
  route TEXT,
  rule TEXT,
  strategy TEXT,
  arm TEXT,
  estimated INTEGER,
  status INTEGER,
  attempts INTEGER NOT NULL,
  ending TEXT NOT NULL
) STRICT;

-- `id` is the time in milliseconds since 1970 (UTC), shifted by 20 bits, and a number that tells rows
-- of one millisecond apart. An address is a number, or the text of one of IPv6. The rest is as in
-- `request`.
CREATE TABLE entry (
  id INTEGER PRIMARY KEY,
  request BLOB NOT NULL,
  caller INTEGER NOT NULL,
  course INTEGER NOT NULL,
  ip ANY,
  input INTEGER,
  cached INTEGER,
  cache_write INTEGER,
  cache_write_1h INTEGER,
  input_audio INTEGER,
  output INTEGER,
  reasoning INTEGER,
  output_audio INTEGER,
  cost INTEGER,
  whole_us INTEGER NOT NULL,
  first_token_us INTEGER,
  upstream_us INTEGER NOT NULL
) STRICT;

-- How many of them there are, and how many names were removed so far: who has some in mind asks.
CREATE TABLE entries (count INTEGER NOT NULL, names_gone INTEGER NOT NULL) STRICT;

-- What is later counts as of the year 2248.
UPDATE request SET at = 8796093022207 WHERE at > 8796093022207;
INSERT INTO caller (day, user, key, tags)
  SELECT DISTINCT at / 86400000, user, key, tags FROM request;
INSERT INTO course (day, operation, asked_model, provider, provider_key, model, route, rule, strategy,
                    arm, estimated, status, attempts, ending)
  SELECT DISTINCT at / 86400000, operation, asked_model, provider, provider_key, model, route, rule,
                  strategy, arm, estimated, status, attempts, ending FROM request;
CREATE INDEX caller_names ON caller (day, user, key, tags);
CREATE INDEX course_names ON course (day, operation, asked_model, provider, model, status, ending);
-- In the order in which they are numbered: to ask for it would sort them once more.
INSERT INTO entry
  SELECT (r.at << 20) + number, request, c.id, w.id, ip, input, cached, cache_write, cache_write_1h,
         input_audio, output, reasoning, output_audio, cost, whole_us, first_token_us, upstream_us
  FROM (SELECT id, row_number() OVER (PARTITION BY at ORDER BY id) - 1 AS number FROM request) n
  CROSS JOIN request r ON r.id = n.id
  CROSS JOIN caller c ON c.day = r.at / 86400000 AND c.user IS r.user AND c.key IS r.key
   AND c.tags IS r.tags
  CROSS JOIN course w ON w.day = r.at / 86400000 AND w.operation = r.operation
   AND w.asked_model IS r.asked_model AND w.provider IS r.provider AND w.model IS r.model
   AND w.status IS r.status AND w.ending = r.ending AND w.provider_key IS r.provider_key
   AND w.route IS r.route AND w.rule IS r.rule AND w.strategy IS r.strategy AND w.arm IS r.arm
   AND w.estimated IS r.estimated AND w.attempts = r.attempts;
INSERT INTO entries SELECT count(*), 0 FROM entry;
DROP INDEX caller_names;
DROP INDEX course_names;
DROP TABLE request;
CREATE INDEX caller_day ON caller (day);
CREATE INDEX course_day ON course (day);

-- Whoever removes some, by hand as well, need not think of it.
CREATE TRIGGER entry_gone AFTER DELETE ON entry BEGIN
  UPDATE entries SET count = count - 1;
END;
CREATE TRIGGER caller_gone AFTER DELETE ON caller BEGIN
  UPDATE entries SET names_gone = names_gone + 1;
END;
CREATE TRIGGER course_gone AFTER DELETE ON course BEGIN
  UPDATE entries SET names_gone = names_gone + 1;
END;

-- A row for each request. Times in milliseconds since 1970 (UTC) or, with their unit in the name, in
-- microseconds; money in nano-dollars. By time it is found through `id`.
CREATE VIEW request AS
  SELECT e.id, e.id >> 20 AS at, request, user, key,
         CASE typeof(ip) WHEN 'integer'
           THEN printf('%d.%d.%d.%d', ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255)
           ELSE ip END AS ip,
         tags, operation, asked_model, provider, provider_key, model, input, cached, cache_write,
         cache_write_1h, input_audio, output, reasoning, output_audio, estimated, cost, status,
         attempts, whole_us, first_token_us, upstream_us, ending, route, rule, strategy, arm
  FROM entry e LEFT JOIN caller ON caller.id = e.caller LEFT JOIN course ON course.id = e.course;

CREATE TRIGGER request_gone INSTEAD OF DELETE ON request BEGIN
  DELETE FROM entry WHERE id = OLD.id;
END;
