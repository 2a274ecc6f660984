"""Allrecipes as FoodRecSys-V1 (Kaggle): recipes, ratings and pictures.

The names of files and columns were read off public code that uses them, not off the data, which are behind a login:
``raw-data_recipe.csv`` (recipe_id, recipe_name, aver_rate, image_url, review_nums, ingredients joined by "^",
cooking_directions, nutritions, reviews), ``raw-data_interaction.csv`` (user_id, recipe_id, rating, dateLastModified, whose
cells end in a line break) and ``raw-data-images/<recipe_id>.jpg``, once or twice nested. Not verified: that the paper
started from the raw part (the "core" one has fewer interactions than its Table 1), which text it took, and whether every
rated recipe is in the list.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.paper.readers.catalogue import Catalogue, joined, pictures
from benchmarks.paper.readers.files import found, rows
from benchmarks.paper.readers.pairs import MissingMetadata, Pairs, match

SOURCE = "'FoodRecSys-V1' (Kaggle, elisaxxygao/foodrecsysv1: the raw-data files and raw-data-images)"
COLUMNS: dict[str, Callable[[str], str]] = {
    "recipe_id": str,
    "recipe_name": str.strip,
    "ingredients": lambda cell: cell.replace("^", ", "),
}


def read_allrecipes(folder: Path, *, missing_metadata: MissingMetadata = "error") -> Catalogue:
    """Read recipes with their names, ingredients and pictures.

    Parameters
    ----------
    folder : Path
        Holds ``raw-data_recipe.csv``, ``raw-data_interaction.csv`` and the folder ``raw-data-images``.
    missing_metadata : {"error", "drop"}, default="error"
        What to do with ratings of recipes that are not in the list of recipes.

    Returns
    -------
    Catalogue
        Any rating counts as an interaction.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is damaged, or recipes have no metadata.
    """
    recipe_file = found(folder, "raw-data_recipe.csv", source=SOURCE)
    rating_file = found(folder, "raw-data_interaction.csv", source=SOURCE)
    images = found(folder, "raw-data-images/raw-data-images", "raw-data-images", source=SOURCE)

    pairs = Pairs()
    for user, recipe in rows(rating_file, {"user_id": str, "recipe_id": str}):
        pairs.add(user, recipe)
    metadata = {
        recipe: {"title": name, "text": joined(name, ingredients)}
        for recipe, name, ingredients in rows(recipe_file, COLUMNS)
        if recipe in pairs.items
    }
    items, interactions = match(pairs, metadata, recipe_file, missing_metadata)
    return Catalogue("allrecipes", items, interactions, images=pictures(items.index, images))
