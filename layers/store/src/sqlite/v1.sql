-- A row for each request, in the order of writing. Times in milliseconds since 1970 (UTC) or, with
-- their unit in the name, in microseconds; money in nano-dollars.
CREATE TABLE request (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  request BLOB NOT NULL,
  user TEXT,
  key TEXT,
  ip TEXT,
  tags TEXT,
  operation TEXT NOT NULL,
  asked_model TEXT,
  provider TEXT,
  provider_key TEXT,
  model TEXT,
  input INTEGER,
  cached INTEGER,
  cache_write INTEGER,
  cache_write_1h INTEGER,
  input_audio INTEGER,
  output INTEGER,
  reasoning INTEGER,
  output_audio INTEGER,
  estimated INTEGER,
  cost INTEGER,
  status INTEGER,
  attempts INTEGER NOT NULL,
  whole_us INTEGER NOT NULL,
  first_token_us INTEGER,
  upstream_us INTEGER NOT NULL,
  ending TEXT NOT NULL,
  route TEXT,
  rule TEXT,
  strategy TEXT,
  arm TEXT
) STRICT;
CREATE INDEX request_at ON request (at);

-- Sums of a day (20261122) or a month (20261100).
CREATE TABLE total (
  by TEXT NOT NULL,
  period INTEGER NOT NULL,
  name TEXT NOT NULL,
  requests INTEGER NOT NULL,
  estimated INTEGER NOT NULL,
  unpriced INTEGER NOT NULL,
  cost INTEGER NOT NULL,
  input INTEGER NOT NULL,
  cached INTEGER NOT NULL,
  cache_write INTEGER NOT NULL,
  cache_write_1h INTEGER NOT NULL,
  input_audio INTEGER NOT NULL,
  output INTEGER NOT NULL,
  reasoning INTEGER NOT NULL,
  output_audio INTEGER NOT NULL,
  PRIMARY KEY (by, period, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE refusal (
  day INTEGER NOT NULL,
  limited_by TEXT NOT NULL,
  key TEXT NOT NULL,
  count INTEGER NOT NULL,
  asked INTEGER NOT NULL,
  available INTEGER NOT NULL,
  last INTEGER NOT NULL,
  PRIMARY KEY (day, limited_by, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE limit_day (
  day INTEGER NOT NULL,
  limited_by TEXT NOT NULL,
  allowed INTEGER NOT NULL,
  refused INTEGER NOT NULL,
  PRIMARY KEY (day, limited_by)
) STRICT, WITHOUT ROWID;

-- Small documents by kind and name; `expires` in milliseconds since 1970.
CREATE TABLE record (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  value BLOB NOT NULL,
  expires INTEGER,
  PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
