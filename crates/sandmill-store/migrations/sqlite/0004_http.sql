-- Places that functions may call over HTTP: a JSON list of host, port and methods.
CREATE TABLE http_policies (
    tenant_id  TEXT NOT NULL PRIMARY KEY,
    rules      TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    changed_by TEXT
) WITHOUT ROWID;
