"""Bicycle gears, and how a rider chooses among them.

The gear of a bicycle is the ratio between the teeth of the chainring and the teeth of the sprocket on the rear wheel.
A low gear makes climbing easy, because each turn of the pedals moves the bicycle a short distance. A high gear suits
descents and tail winds, where the rider would otherwise spin the pedals in vain.
"""

RATIOS = {"climb": 0.8, "flat": 2.4, "descent": 4.1}


class Derailleur:
    """Moves the chain of a bicycle from one sprocket to the next.

    A derailleur guides the chain sideways while the rider pedals, and two jockey wheels take up its slack. The cage of
    a rear derailleur must be long enough to wrap the chain over the smallest chainring. Indexed levers pull the cable
    by a fixed length for each gear, so that cable tension decides whether the bicycle shifts cleanly.
    """

    def shift(self, teeth: int) -> float:
        """Return the gear ratio after a shift to a sprocket with so many teeth.

        A chain that crosses from the largest chainring to the largest sprocket wears quickly and rubs on the cage.
        """
        # Riders shift down before a hill, since the chain jumps badly under a heavy load on the pedals.
        return 48 / teeth


def hub_gear() -> str:
    """Describe the gears that hide inside a hub.

    A hub gear holds planetary wheels that turn around a sun pinion inside the shell of the rear hub. The hub keeps dirt
    away from its gears and can shift while the bicycle stands still at a traffic light. Its efficiency is a few percent
    below that of a clean chain with a derailleur.
    """
    # A rider keeps a cadence of eighty to ninety turns of the pedals a minute and changes gear to stay there.
    # Tired knees are often the price of pushing gears that are too high for the slope.
    return "hub"


# Cyclists compare the gears of bicycles by the distance that one turn of the pedals covers, which the French call
# development and which depends on the circumference of the rear wheel.
