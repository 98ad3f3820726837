"""The calendar: which years have a 29th of February."""


def is_leap_year(year: int) -> bool:
    """Tell whether a year of the Gregorian calendar has 366 days.

    Every fourth year has a leap day, but not the turn of a century, unless 400 divides it: 2000 was
    a leap year, 1900 was not.
    """
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_in_year(year: int) -> int:
    """Return 365 or 366."""
    return 366 if is_leap_year(year) else 365
