# What `cmake --install` (./dev install) and cpack (./dev package) put where.
install(TARGETS lrun RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES docs/lrun.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md" PATTERN types EXCLUDE)
# For lua-language-server: the modules are compiled into lrun, their annotated sources serve as its library.
install(DIRECTORY lualib/ DESTINATION ${CMAKE_INSTALL_DATADIR}/lrun/types
  PATTERN process.lua EXCLUDE PATTERN repl.lua EXCLUDE)
install(DIRECTORY docs/types/ DESTINATION ${CMAKE_INSTALL_DATADIR}/lrun/types)

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
# The modules behind `lrun -j`; LuaJIT itself is in the binary.
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "libluajit-5.1-common")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "lua-busted")
include(CPack)
