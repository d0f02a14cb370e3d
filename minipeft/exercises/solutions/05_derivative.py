r"""A derivative by differences: the heart of every gradient check.

    df/dt = ( 8 (f(h) - f(-h)) - (f(2h) - f(-2h)) ) / (12 h)        f(t): f() while array holds
                                                                    array + t direction

f() takes no argument: it reads `array`, the very object. So its contents move, and at the end they are what
they were, to the bit. The example, on 2 x 2 numbers: the sum of squares, moved along the first entry.

    >>> array = np.array([[3.0, 1], [2, 4]])
    >>> direction = np.array([[1.0, 0], [0, 0]])
    >>> round(float(derivative(lambda: (array * array).sum(), array, direction, 0.01)), 6)
    6.0
    >>> array.tolist()
    [[3.0, 1.0], [2.0, 4.0]]

In the package: minipeft/gradcheck.py, derivative.
"""

import numpy as np


def derivative(f, array, direction, h):
    """f: a function of nothing; array and direction (N, K); h > 0 -> df/dt, a number."""
    kept, values = array.copy(), {}
    # -- yours --
    for t in (h, -h, 2 * h, -2 * h):
        array[...] = kept + t * direction
        values[t] = f()
    array[...] = kept
    return (8 * (values[h] - values[-h]) - (values[2 * h] - values[-2 * h])) / (12 * h)
