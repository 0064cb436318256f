-- What functions used in the last attempt of a job.
ALTER TABLE jobs ADD COLUMN usage TEXT NOT NULL DEFAULT '[]';
