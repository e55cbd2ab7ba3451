"""Triggers that keep events append-only and pages written once; what is compressed already isn't compressed again."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION jobs_history_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER job_event_no_update_or_delete BEFORE UPDATE OR DELETE ON jobs_jobevent
    FOR EACH ROW EXECUTE FUNCTION jobs_history_is_append_only();
CREATE TRIGGER job_event_no_truncate BEFORE TRUNCATE ON jobs_jobevent
    FOR EACH STATEMENT EXECUTE FUNCTION jobs_history_is_append_only();
CREATE TRIGGER job_page_no_update BEFORE UPDATE ON jobs_jobpage
    FOR EACH ROW EXECUTE FUNCTION jobs_history_is_append_only();
ALTER TABLE jobs_jobpage ALTER COLUMN packed SET STORAGE EXTERNAL;
"""

BACKWARD = """
ALTER TABLE jobs_jobpage ALTER COLUMN packed SET STORAGE EXTENDED;
DROP TRIGGER job_page_no_update ON jobs_jobpage;
DROP TRIGGER job_event_no_truncate ON jobs_jobevent;
DROP TRIGGER job_event_no_update_or_delete ON jobs_jobevent;
DROP FUNCTION jobs_history_is_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("jobs", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
