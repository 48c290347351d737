"""From blocks of curves to tasks: no science in here."""
