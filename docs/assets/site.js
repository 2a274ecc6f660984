// The theme lets wide tables and code scroll; the keyboard must be able to scroll all of them.
document$.subscribe(() =>
  document
    .querySelectorAll(".md-typeset__scrollwrap, .mkd-glr-script-out-disp code")
    .forEach((box) => box.setAttribute("tabindex", "0"))
);
