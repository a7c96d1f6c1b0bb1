# What `cmake --install` (./dev install) and cpack (./dev package) put where.
install(TARGETS lrun RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES docs/lrun.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${LRUN_NOTICES} DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md")
# For lua-language-server: the modules are compiled into lrun, so an editor gets their annotations as files of types.
add_custom_command(
  OUTPUT ${CMAKE_BINARY_DIR}/types/events.lua
  COMMAND lrun ${CMAKE_SOURCE_DIR}/tools/types.lua ${CMAKE_SOURCE_DIR}/lualib ${CMAKE_BINARY_DIR}/types
  DEPENDS lrun ${CMAKE_SOURCE_DIR}/tools/types.lua ${lua_sources}
  COMMENT "Writing type files" VERBATIM)
add_custom_target(types ALL DEPENDS ${CMAKE_BINARY_DIR}/types/events.lua)
install(DIRECTORY ${CMAKE_BINARY_DIR}/types/ DESTINATION ${CMAKE_INSTALL_DATADIR}/lrun/types)
# Completion for the shells, where they look for it: a package's has other folders than what is put under /usr/local, and fish
# looks below /etc, the user's home and /usr alone.
set(completions ${CMAKE_BINARY_DIR}/completions)
file(MAKE_DIRECTORY ${completions})
add_custom_command(
  OUTPUT ${completions}/lrun ${completions}/_lrun ${completions}/lrun.fish
  COMMAND lrun ${CMAKE_SOURCE_DIR}/tools/completions.lua ${completions}
  DEPENDS lrun ${CMAKE_SOURCE_DIR}/tools/completions.lua
  COMMENT "Writing shell completions" VERBATIM)
add_custom_target(completions ALL DEPENDS ${completions}/lrun)
install(FILES ${completions}/lrun DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(CODE "set(completions \"${completions}\")")
install(CODE [[
  set(zsh "${CMAKE_INSTALL_PREFIX}/share/zsh/site-functions")
  set(fish "${CMAKE_INSTALL_PREFIX}/share/fish/vendor_completions.d")
  if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
    set(zsh /usr/share/zsh/vendor-completions)
  elseif(CMAKE_INSTALL_PREFIX STREQUAL "/usr/local")
    set(fish /etc/fish/completions)
  endif()
  file(INSTALL DESTINATION "${zsh}" TYPE FILE FILES "${completions}/_lrun")
  file(INSTALL DESTINATION "${fish}" TYPE FILE FILES "${completions}/lrun.fish")
]])

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME lrun)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "lrun maintainers <maintainers@lrun.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "run Lua programs made of processes")
set(CPACK_PACKAGE_DESCRIPTION "LuaJIT and libuv in one small program, with child processes, clusters, sockets and
HTTP servers under the names, events and errors of Node.js.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION interpreters)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# What lrun opens when a program first needs it, and the modules behind `lrun -j`.
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "libssl3 | libssl3t64, ca-certificates, libbrotli1, libzstd1, libidn2-0, libluajit-5.1-common")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "lua-busted")
include(CPack)
