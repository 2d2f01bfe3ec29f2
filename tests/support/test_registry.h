// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <QObject>

#include <memory>
#include <string>
#include <vector>

// Test classes of one executable, filled before main() by KVILT_TEST_CLASS and run by test_main.cpp.
namespace kvilt::test {

struct TestClass {
    std::string name;
    std::unique_ptr<QObject> (*make)();
};

std::vector<TestClass> &testClasses();

struct TestRegistrar {
    TestRegistrar(const char *name, std::unique_ptr<QObject> (*make)()) { testClasses().push_back({name, make}); }
};

} // namespace kvilt::test

#define KVILT_TEST_CLASS(Class)                                                                                        \
    static const kvilt::test::TestRegistrar s_register##Class(                                                         \
        #Class, []() -> std::unique_ptr<QObject> { return std::make_unique<Class>(); });
