# Installs the program, the libraries with their headers, the bundled data, and what find_package(lockstep) reads.
include(CMakePackageConfigHelpers)

install(TARGETS lockstep RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS lockstep_flags lockstep_hdf5 lockstep_deflate lockstep_dnnl lockstep_xxhash
  lockstep_pictures lockstep_zip lockstep_zlib lockstep_onnx
  lockstep_core lockstep_ops lockstep_datasets lockstep_dist lockstep_launcher
  EXPORT lockstep-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET lockstep_cuda)
  install(TARGETS lockstep_cuda LIBRARY DESTINATION lib)
endif()
install(DIRECTORY core ops datasets dist launcher DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lockstep
  FILES_MATCHING PATTERN "*.h")
install(DIRECTORY datasets/bundled/ DESTINATION ${CMAKE_INSTALL_DATADIR}/lockstep/datasets
  FILES_MATCHING PATTERN "*.h5" PATTERN "*.md")

set(LOCKSTEP_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/lockstep)
install(EXPORT lockstep-targets NAMESPACE lockstep:: DESTINATION ${LOCKSTEP_CMAKE_DIR})
configure_package_config_file(cmake/lockstep-config.cmake.in
  ${PROJECT_BINARY_DIR}/lockstep-config.cmake INSTALL_DESTINATION ${LOCKSTEP_CMAKE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/lockstep-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/lockstep-config.cmake
  ${PROJECT_BINARY_DIR}/lockstep-config-version.cmake DESTINATION ${LOCKSTEP_CMAKE_DIR})
