// The theme wraps wide tables so that they scroll; the keyboard must be able to scroll them too.
document$.subscribe(() =>
  document.querySelectorAll(".md-typeset__scrollwrap").forEach((box) => box.setAttribute("tabindex", "0"))
);
