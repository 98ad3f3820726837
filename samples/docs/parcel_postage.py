"""Postage for parcels: what it costs to send one, by weight and by country."""

MAX_WEIGHT_KG = 31.5


def postage_eur(weight_kg: float, *, abroad: bool = False) -> float:
    """Return the price of sending a parcel.

    Up to 2 kg it is 5.50 euros, up to 10 kg it is 9.50, and 18 above that. A parcel to another
    country costs twice as much. Heavier ones than 31.5 kg are not taken at the post office.
    """
    if not 0 < weight_kg <= MAX_WEIGHT_KG:
        raise ValueError(f"a parcel weighs more than 0 and at most {MAX_WEIGHT_KG} kg")
    price = 5.50 if weight_kg <= 2 else 9.50 if weight_kg <= 10 else 18.0
    return price * 2 if abroad else price
