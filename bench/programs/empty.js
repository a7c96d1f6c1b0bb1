// empty.js: nothing; the twin of empty.lua.
