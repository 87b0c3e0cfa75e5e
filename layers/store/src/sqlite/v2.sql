-- What each key of a limit has used: the state in the limits' own form.
CREATE TABLE limit_state (
  name TEXT NOT NULL,
  key TEXT NOT NULL,
  state BLOB NOT NULL,
  PRIMARY KEY (name, key)
) WITHOUT ROWID;
