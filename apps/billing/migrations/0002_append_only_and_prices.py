"""Triggers that keep the ledger append-only, and the default prices as rows that an operator can edit."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION billing_ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER ledger_no_update_or_delete BEFORE UPDATE OR DELETE ON billing_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION billing_ledger_is_append_only();
CREATE TRIGGER ledger_no_truncate BEFORE TRUNCATE ON billing_ledgerentry
    FOR EACH STATEMENT EXECUTE FUNCTION billing_ledger_is_append_only();
"""

BACKWARD = """
DROP TRIGGER ledger_no_truncate ON billing_ledgerentry;
DROP TRIGGER ledger_no_update_or_delete ON billing_ledgerentry;
DROP FUNCTION billing_ledger_is_append_only();
"""

PRICES = {
    "burner_per_10_min": 1,
    "country_surcharge": 1,
    "persistent_month": 30,
    "session": 2,
    "task_per_3_steps": 1,
    "quick_page": 1,
    "sandbox_per_10_min": 1,
}


def add_prices(apps, schema_editor):
    Price = apps.get_model("billing", "Price")
    for key, credits in PRICES.items():
        Price.objects.get_or_create(key=key, defaults={"credits": credits})


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]

    operations = [
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.RunPython(add_prices, migrations.RunPython.noop),
    ]
