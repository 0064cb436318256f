-- Versions: who published them, aliases, signatures, and which jobs use them.
ALTER TABLE functions ADD COLUMN published_by TEXT;
-- `key_<id>:<base64>`, checked when the module was uploaded.
ALTER TABLE modules ADD COLUMN signature TEXT;
CREATE INDEX functions_by_digest ON functions (tenant_id, digest);

CREATE TABLE function_aliases (
    tenant_id  TEXT NOT NULL,
    name       TEXT NOT NULL,
    alias      TEXT NOT NULL,
    version    INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    changed_by TEXT,
    PRIMARY KEY (tenant_id, name, alias)
) WITHOUT ROWID;

-- The pins of jobs, so that use of a version is found without reading every job.
CREATE TABLE job_functions (
    tenant_id TEXT NOT NULL,
    name      TEXT NOT NULL,
    job_id    TEXT NOT NULL,
    version   INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name, job_id, version)
) WITHOUT ROWID;
INSERT OR IGNORE INTO job_functions
    SELECT jobs.tenant_id, pin.value ->> 'name', jobs.id, pin.value ->> 'version'
    FROM jobs, json_each(jobs.spec, '$.functions') AS pin;

CREATE TABLE signing_keys (
    tenant_id  TEXT NOT NULL,
    id         TEXT NOT NULL,
    name       TEXT NOT NULL,
    public_key BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT,
    revoked_at INTEGER,
    PRIMARY KEY (tenant_id, id)
) WITHOUT ROWID;

CREATE TABLE upload_policies (
    tenant_id      TEXT NOT NULL PRIMARY KEY,
    require_signed INTEGER NOT NULL
) WITHOUT ROWID;
