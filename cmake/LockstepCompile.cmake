# How every target of Lockstep is compiled.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(Threads REQUIRED)

add_library(lockstep_flags INTERFACE)
target_include_directories(lockstep_flags INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/lockstep>)
target_compile_features(lockstep_flags INTERFACE cxx_std_20)
target_link_libraries(lockstep_flags INTERFACE OpenMP::OpenMP_CXX Threads::Threads)

# Flags of Lockstep's own sources; not handed on to programs that use the library.
set(LOCKSTEP_COMPILE_FLAGS -Wall -Wextra -Wno-unknown-pragmas -fno-math-errno -fno-trapping-math)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  list(APPEND LOCKSTEP_COMPILE_FLAGS -Wno-restrict)  # warns of "text" + std::string (GCC bug 105651)
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  # AVX2 and FMA: every x86-64 server since 2013. The program checks this when it starts. oneDNN chooses
  # its own instructions (AVX-512, bf16) at run time.
  list(APPEND LOCKSTEP_COMPILE_FLAGS -march=x86-64-v3)
endif()
if(LOCKSTEP_WERROR)
  list(APPEND LOCKSTEP_COMPILE_FLAGS -Werror)
endif()
if(LOCKSTEP_SANITIZE)
  add_compile_options(-fsanitize=${LOCKSTEP_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${LOCKSTEP_SANITIZE})
endif()

# lockstep_library(NAME SOURCES a.cpp ... PUBLIC lib ... PRIVATE lib ...): the target of one top-level folder.
function(lockstep_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_compile_options(${name} PRIVATE ${LOCKSTEP_COMPILE_FLAGS})
  target_link_libraries(${name} PUBLIC lockstep_flags ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
endfunction()
