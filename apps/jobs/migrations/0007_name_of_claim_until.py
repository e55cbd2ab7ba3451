"""`lease_until` becomes `claim_until` in Python only: the column, the index and the constraint stay as they are in the
database, so that processes of the previous version keep working beside this one.
"""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0006_country_of_tasks'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveConstraint(model_name='job', name='job_leased_while_running'),
                migrations.RemoveIndex(model_name='job', name='job_running_by_lease'),
                migrations.RenameField(model_name='job', old_name='lease_until', new_name='claim_until'),
                migrations.AlterField(
                    model_name='job',
                    name='claim_until',
                    field=models.DateTimeField(db_column='lease_until', null=True),
                ),
                migrations.AddIndex(
                    model_name='job',
                    index=models.Index(condition=Q(('status', 'running')), fields=['claim_until'], name='job_running_by_lease'),
                ),
                migrations.AddConstraint(
                    model_name='job',
                    constraint=models.CheckConstraint(condition=Q(Q(('claim_until__isnull', False), ('status', 'running'), Q(('owner', ''), _negated=True)), Q(Q(('status', 'running'), _negated=True), ('claim_until', None), ('owner', '')), _connector='OR'), name='job_leased_while_running'),
                ),
            ],
        ),
    ]
