find_package(GTest REQUIRED)

# How the sources of a test are compiled.
function(lockstep_test_sources target)
  target_compile_options(${target} PRIVATE ${LOCKSTEP_COMPILE_FLAGS})
  target_compile_definitions(${target} PRIVATE LOCKSTEP_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
    LOCKSTEP_PROGRAM="${PROJECT_BINARY_DIR}/bin/lockstep")
  target_link_libraries(${target} PRIVATE ${ARGN} GTest::gtest)
endfunction()

# The executable of a test, with the sources and libraries of lockstep_test.
function(lockstep_test_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  lockstep_test_sources(${name} ${ARG_LIBRARIES})
endfunction()

# lockstep_test(NAME SOURCES a_test.cpp LIBRARIES lockstep_core LABELS cpu [TIMEOUT s]): one GoogleTest program.
function(lockstep_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LIBRARIES;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  lockstep_test_program(${name} SOURCES ${ARG_SOURCES} LIBRARIES ${ARG_LIBRARIES} GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
endfunction()

# lockstep_device_test(NAME [CUDA] SOURCES a_test.cpp [LIBRARIES ...] [LABELS cpu] [TIMEOUT s]): one program that runs on
# the device of tests/test_device.h: NAME on the CPU and, with CUDA, NAME_emulated. What has the word CUDA is in the program
# of lockstep_gpu_test as well.
set_property(GLOBAL PROPERTY LOCKSTEP_GPU_TESTS)
function(lockstep_device_test name)
  cmake_parse_arguments(ARG "CUDA" "TIMEOUT" "SOURCES;LIBRARIES;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS cpu)
  endif()
  set(libraries lockstep_test_device ${ARG_LIBRARIES})
  if(ARG_CUDA)
    add_library(${name}_objects OBJECT ${ARG_SOURCES})
    lockstep_test_sources(${name}_objects ${libraries})
    set_property(GLOBAL APPEND PROPERTY LOCKSTEP_GPU_TESTS ${name}_objects)
    set_property(GLOBAL APPEND PROPERTY LOCKSTEP_GPU_TEST_LIBRARIES ${libraries})
    set(ARG_SOURCES $<TARGET_OBJECTS:${name}_objects>)
    add_test(NAME ${name}_emulated COMMAND ${name} --device=emulated)
    set_tests_properties(${name}_emulated PROPERTIES LABELS cpu TIMEOUT ${ARG_TIMEOUT})
  endif()
  lockstep_test_program(${name} SOURCES ${ARG_SOURCES} LIBRARIES ${libraries})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
endfunction()

# lockstep_gpu_test(NAME): one program with the tests of all lockstep_device_test(... CUDA) since the one before, label gpu: a GPU is
# set up once, and there is one file to take to a machine that has one (bench/gpu_check.sh). It takes --device as they do.
function(lockstep_gpu_test name)
  get_property(tests GLOBAL PROPERTY LOCKSTEP_GPU_TESTS)
  get_property(libraries GLOBAL PROPERTY LOCKSTEP_GPU_TEST_LIBRARIES)
  list(REMOVE_DUPLICATES libraries)
  list(TRANSFORM tests REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>")
  set_property(GLOBAL PROPERTY LOCKSTEP_GPU_TESTS)
  set_property(GLOBAL PROPERTY LOCKSTEP_GPU_TEST_LIBRARIES)
  lockstep_test_program(${name} SOURCES ${tests} LIBRARIES ${libraries})
  if(LOCKSTEP_HAS_CUDA)
    add_dependencies(${name} lockstep_cuda)
    add_test(NAME ${name} COMMAND ${name} --device=cuda)
    set_tests_properties(${name} PROPERTIES LABELS gpu TIMEOUT 600)
  endif()
endfunction()
