"""What other apps may want to know about accounts. They subscribe; accounts imports none of them."""

from django.dispatch import Signal

# Sent with `workspace`, inside the transaction that creates it: a receiver that raises undoes the creation.
workspace_created = Signal()
