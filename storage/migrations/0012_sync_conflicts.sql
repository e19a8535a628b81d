-- What an operation that was written down conflicts with goes into the ledger with its edit, whoever commits that.
ALTER TABLE sync_queue ADD COLUMN conflicts json;
