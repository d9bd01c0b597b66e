// The theme puts wide tables into boxes that scroll sideways; a keyboard can scroll only what it can reach.
new MutationObserver(() => {
  for (const box of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) box.tabIndex = 0
}).observe(document.body, { childList: true, subtree: true })
