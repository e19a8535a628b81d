"""Rows of `issue_words` and `issue_words_due`: what issues are found by, and which of it is to be read anew."""

# ruff: noqa: S608 -- the f-strings are built from constants of this module

from __future__ import annotations

from typing import Final

from storage.isolation import TRIGRAMS

# Bounds of what is found: the rest of a longer text is not. The newest comments count.
# What texts are found by: beyond it an index of Postgres would not take them, or grow faster than the issues.
MAX_TITLE_CHARS: Final = 1_000
MAX_DESCRIPTION_CHARS: Final = 30_000
MAX_COMMENT_CHARS: Final = 2_000
MAX_COMMENTS: Final = 100

NOTE_DUE: Final = """
INSERT INTO issue_words_due (workspace_id, seq, issue_id)
SELECT $1, * FROM unnest($2::bigint[], $3::uuid[]) ON CONFLICT DO NOTHING"""

DUE_WORKSPACES: Final = "SELECT DISTINCT workspace_id FROM issue_words_due"

# At most $2 issues, with all that is due of them among the oldest $3 rows. Two nodes take different rows.
TAKE_DUE: Final = """
WITH oldest AS (
    SELECT seq, issue_id FROM issue_words_due WHERE workspace_id = $1 ORDER BY seq LIMIT $3 FOR UPDATE SKIP LOCKED
), wanted AS (
    SELECT issue_id FROM oldest GROUP BY issue_id ORDER BY min(seq) LIMIT $2
), taken AS (
    DELETE FROM issue_words_due AS d USING oldest JOIN wanted USING (issue_id)
    WHERE d.workspace_id = $1 AND d.seq = oldest.seq AND d.issue_id = oldest.issue_id
)
SELECT array_agg(issue_id) FROM wanted"""

IS_DUE: Final = "SELECT EXISTS (SELECT FROM issue_words_due WHERE workspace_id = $1 AND seq <= $2)"

_SAID: Final = f"""concat_ws(' ', left(i.title, {MAX_TITLE_CHARS}), left(i.description, {MAX_DESCRIPTION_CHARS}), (
        SELECT string_agg(left(body, {MAX_COMMENT_CHARS}), ' ') FROM (
            SELECT body FROM comments AS c
            WHERE c.workspace_id = i.workspace_id AND c.issue_id = i.id AND c.deleted_at IS NULL
            ORDER BY c.created_at DESC, c.id DESC LIMIT {MAX_COMMENTS}
        ) AS newest))"""

# What has the same words is not written; an older row never replaces a newer one. $3: whether pg_trgm is there.
READ: Final = f"""
INSERT INTO issue_words AS w (workspace_id, issue_id, seq, words, said)
SELECT workspace_id, id, seq, array_to_tsvector(search_words(workspace_id, said)), CASE WHEN $3 THEN lower(said) END
FROM (SELECT i.workspace_id, i.id, i.seq, {_SAID} AS said FROM issues AS i
      WHERE i.workspace_id = $1 AND i.id = ANY ($2::uuid[])) AS issue
ON CONFLICT (workspace_id, issue_id) DO UPDATE SET seq = excluded.seq, words = excluded.words, said = excluded.said
WHERE w.seq <= excluded.seq AND (w.words, w.said) IS DISTINCT FROM (excluded.words, excluded.said)"""

# Conditions of a row `w` of workspace $1, with a place for what is looked for. The second finds parts of words and near
# misses too. What does not depend on the row is in a subquery, to be worked out once.
BY_WORDS: Final = "w.words @@ (SELECT search_query($1, {0}))"
BY_TRIGRAMS: Final = (
    f"({BY_WORDS} OR w.said LIKE (SELECT '%' || regexp_replace(lower({{0}}), '([\\\\%_])', '\\\\\\1', 'g') || '%') "
    "OR (SELECT lower({0})) <% w.said)"
)

# How many rows `BY_WORDS` finds, as the statistics have it. Not in a subquery: that would not be worked out beforehand.
ESTIMATE: Final = """
EXPLAIN (FORMAT JSON) SELECT FROM issue_words AS w WHERE w.workspace_id = $1 AND w.words @@ search_query($1, $2)"""

INDEX: Final = "issue_words_by_word"

# Whether the operators of `BY_TRIGRAMS` may look into the index under a policy (`storage.isolation`). Where they may
# not, every text of the workspace would be read.
_ARE_LEAKPROOF: Final = """coalesce((
    SELECT bool_and(proleakproof) FROM pg_proc
    WHERE oid IN ('ts_match_vq(tsvector,tsquery)'::regprocedure, 'textlike(text,text)'::regprocedure,
        to_regprocedure('word_similarity_op(text,text)'))
), false)"""
HAS_TRIGRAMS: Final = f"""
SELECT to_regclass('{TRIGRAMS}') IS NOT NULL AND (NOT row_security_active('issue_words') OR {_ARE_LEAKPROOF})"""

# Where this Postgres has pg_trgm and its index will be of use: a superuser may declare its operators leakproof, and
# does so next. All issues are read anew then.
ENABLE_TRIGRAMS: Final = f"""
DO $$ BEGIN
    IF to_regclass('issue_words') IS NULL OR to_regclass('{TRIGRAMS}') IS NOT NULL
        OR NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm')
        OR NOT ((SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
            OR (to_regprocedure('word_similarity_op(text,text)') IS NOT NULL AND {_ARE_LEAKPROOF}))
    THEN RETURN; END IF;
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE INDEX {TRIGRAMS} ON issue_words USING gin (said gin_trgm_ops);
    INSERT INTO issue_words_due SELECT workspace_id, seq, id FROM issues ON CONFLICT DO NOTHING;
EXCEPTION WHEN insufficient_privilege THEN NULL;
END $$"""
