"""Alerting: predictions become incidents, kept in a store and announced as CloudEvents."""
