--- The `require` of the runtime's own modules: host/bundle.c makes it, and gives it to each of them. It sees nothing of
--- package.loaded, package.preload and files, so that no program takes a module of the runtime's away from it.
local load, loaded = ...

return function(name) return loaded[name] or load(name) end
