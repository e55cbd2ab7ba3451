"""Checkouts; holds that all expire, and that triggers guard as they guard the ledger."""

import uuid

import django.db.models.deletion
from django.db import migrations, models

import apps.billing.models

# A hold that was made before holds expired gets a day: the sweep then asks what became of its work.
EXPIRE = "UPDATE billing_hold SET expires_at = created_at + interval '1 day' WHERE expires_at IS NULL"

FORWARD = """
CREATE FUNCTION billing_hold_is_settled_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status <> 'open' THEN
        RAISE EXCEPTION 'a settled hold does not change' USING ERRCODE = 'restrict_violation';
    END IF;
    IF (NEW.id, NEW.workspace_id, NEW.reference, NEW.amount, NEW.agent_id, NEW.job_id, NEW.created_at)
        IS DISTINCT FROM (OLD.id, OLD.workspace_id, OLD.reference, OLD.amount, OLD.agent_id, OLD.job_id, OLD.created_at)
    THEN
        RAISE EXCEPTION 'of a hold only its end and its expiry change' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE FUNCTION billing_books_are_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is never emptied: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER hold_settled_once BEFORE UPDATE ON billing_hold
    FOR EACH ROW EXECUTE FUNCTION billing_hold_is_settled_once();
CREATE TRIGGER hold_no_delete BEFORE DELETE ON billing_hold
    FOR EACH ROW EXECUTE FUNCTION billing_books_are_kept();
CREATE TRIGGER hold_no_truncate BEFORE TRUNCATE ON billing_hold
    FOR EACH STATEMENT EXECUTE FUNCTION billing_books_are_kept();
CREATE TRIGGER account_no_delete BEFORE DELETE ON billing_creditaccount
    FOR EACH ROW EXECUTE FUNCTION billing_books_are_kept();
CREATE TRIGGER account_no_truncate BEFORE TRUNCATE ON billing_creditaccount
    FOR EACH STATEMENT EXECUTE FUNCTION billing_books_are_kept();
"""

BACKWARD = """
DROP TRIGGER account_no_truncate ON billing_creditaccount;
DROP TRIGGER account_no_delete ON billing_creditaccount;
DROP TRIGGER hold_no_truncate ON billing_hold;
DROP TRIGGER hold_no_delete ON billing_hold;
DROP TRIGGER hold_settled_once ON billing_hold;
DROP FUNCTION billing_books_are_kept();
DROP FUNCTION billing_hold_is_settled_once();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_workspace_rate_limits"),
        ("billing", "0002_append_only_and_prices"),
    ]

    operations = [
        migrations.RunSQL(EXPIRE, migrations.RunSQL.noop),
        migrations.AlterField(
            model_name='hold',
            name='expires_at',
            field=models.DateTimeField(help_text='If still open then, a sweep asks what became of the work.'),
        ),
        migrations.AlterField(
            model_name='price',
            name='key',
            field=models.CharField(max_length=50, primary_key=True, serialize=False, validators=[apps.billing.models.check_known]),
        ),
        migrations.CreateModel(
            name='Checkout',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('status', models.CharField(choices=[('starting', 'Starting'), ('pending', 'Pending'), ('paid', 'Paid'), ('expired', 'Expired'), ('failed', 'Failed'), ('review', 'Review'), ('refunded', 'Refunded')], default='starting', max_length=10)),
                ('credits', models.BigIntegerField()),
                ('amount', models.BigIntegerField(help_text="In the currency's smallest unit.")),
                ('currency', models.CharField(max_length=3)),
                ('success_url', models.CharField(max_length=2048)),
                ('cancel_url', models.CharField(max_length=2048)),
                ('idempotency_key', models.UUIDField(default=uuid.uuid4, editable=False, help_text='Minted once, sent to Stripe.')),
                ('session_id', models.CharField(blank=True, max_length=255)),
                ('url', models.TextField(blank=True, help_text='Where to pay.')),
                ('payment_intent', models.CharField(blank=True, max_length=255)),
                ('refunded_amount', models.BigIntegerField(default=0, help_text='Paid back so far, in the smallest unit.')),
                ('refunded_credits', models.BigIntegerField(default=0, help_text='Taken back for that.')),
                ('owed_credits', models.BigIntegerField(default=0, help_text='Could not be taken back: they were spent or held.')),
                ('problem', models.CharField(blank=True, max_length=500)),
                ('created_at', models.DateTimeField()),
                ('checked_at', models.DateTimeField(help_text='When Stripe was last asked about it.', null=True)),
                ('paid_at', models.DateTimeField(null=True)),
                ('workspace', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.workspace')),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('status__in', ['starting', 'pending'])), fields=['created_at'], name='checkout_undecided'), models.Index(condition=models.Q(('payment_intent', ''), _negated=True), fields=['payment_intent'], name='checkout_by_payment')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('session_id', ''), _negated=True), fields=('session_id',), name='checkout_session_once'), models.CheckConstraint(condition=models.Q(('amount__gt', 0), ('credits__gt', 0)), name='checkout_of_something')],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
