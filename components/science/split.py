"""Splitting a table into training and test rows."""

import pandas as pd
from sklearn.model_selection import train_test_split


def split_table(table: pd.DataFrame, target: str, test_share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows and test rows, with the classes of `target` in equal shares.

    Raises:
        ValueError: the share is not between 0 and 1, or a class is too rare to be on both sides.
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test_share is {test_share:g}; it has to lie between 0 and 1, both excluded")
    counts = table[target].value_counts()
    rarest, rows = counts.idxmin(), int(counts.min())
    # Rounded, since 10 * (1 - 0.9) is a little less than 1.
    if round(rows * min(test_share, 1 - test_share), 9) < 1:
        raise ValueError(
            f"column {target!r}: class {rarest!r} has {rows} row{'' if rows == 1 else 's'}; "
            f"with a test share of {test_share:g} that is too few for both sides"
        )
    train, test = train_test_split(table, test_size=test_share, random_state=seed, stratify=table[target])
    return train.reset_index(drop=True), test.reset_index(drop=True)
