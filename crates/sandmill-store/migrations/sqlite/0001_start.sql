-- Times are microseconds since 1970; ids are text; documents are JSON.
CREATE TABLE jobs (
    tenant_id    TEXT NOT NULL,
    id           TEXT NOT NULL,
    spec         TEXT NOT NULL,
    state        TEXT NOT NULL,
    reason       TEXT,
    attempt      INTEGER NOT NULL DEFAULT 0,
    revision     INTEGER NOT NULL DEFAULT 1,
    owner        TEXT,
    lease_until  INTEGER,
    created_at   INTEGER NOT NULL,
    started_at   INTEGER,
    finished_at  INTEGER,
    error        TEXT,
    result       TEXT,
    progress     TEXT NOT NULL DEFAULT '{"rows_read":0,"rows_total":null,"rows_written":0}',
    retry_of     TEXT,
    PRIMARY KEY (tenant_id, id)
) WITHOUT ROWID;
CREATE INDEX jobs_by_state ON jobs (state, created_at);

CREATE TABLE job_logs (
    tenant_id TEXT NOT NULL,
    job_id    TEXT NOT NULL,
    line      INTEGER NOT NULL,
    document  TEXT NOT NULL,
    PRIMARY KEY (tenant_id, job_id, line)
) WITHOUT ROWID;

CREATE TABLE modules (
    tenant_id   TEXT NOT NULL,
    digest      TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, digest)
) WITHOUT ROWID;

CREATE TABLE functions (
    tenant_id  TEXT NOT NULL,
    name       TEXT NOT NULL,
    version    INTEGER NOT NULL,
    digest     TEXT NOT NULL,
    package    TEXT NOT NULL,
    info       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER,
    PRIMARY KEY (tenant_id, name, version)
) WITHOUT ROWID;

CREATE TABLE tables (
    tenant_id   TEXT NOT NULL,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) WITHOUT ROWID;

CREATE TABLE tokens (
    tenant_id  TEXT NOT NULL,
    id         TEXT NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL,
    role       TEXT NOT NULL,
    hash       BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) WITHOUT ROWID;
