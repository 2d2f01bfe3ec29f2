// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace kvilt::text::jinja {

// How a template fails inside this room: thrown by the parser and the interpreter, caught at ChatTemplate's edge.
struct TemplateError {
    std::string message;
    bool complete = false; // says where already, or is the template's own sentence
};

// What one render may still spend. Outlives every value of the render.
class Budget {
public:
    Budget(std::uint64_t steps, std::uint64_t memory, std::uint64_t output, const std::atomic<bool> *stop = nullptr)
        : m_steps(steps), m_memory(memory), m_output(output), m_stop(stop)
    {
    }
    void step(std::uint64_t count = 1)
    {
        if (count > m_steps)
            throw TemplateError{"the template takes more steps than it may; it may loop without end"};
        if (m_stop && m_stop->load(std::memory_order_relaxed))
            throw TemplateError{"the template was stopped"};
        m_steps -= count;
    }
    // Work on that many bytes of text.
    void touch(std::size_t bytes) { step(1 + bytes / 64); }
    // Before building something of that size: throws when it could not be kept.
    void expect(std::uint64_t bytes) const
    {
        if (bytes > m_memory || m_held > m_memory - bytes)
            throw TemplateError{"the template needs more memory than it may have"};
    }
    void hold(std::size_t bytes)
    {
        expect(bytes);
        m_held += bytes;
    }
    void release(std::size_t bytes) { m_held -= bytes; }
    void output(std::size_t total) const
    {
        if (total > m_output)
            throw TemplateError{"the template writes more text than it may"};
    }

private:
    std::uint64_t m_steps;
    std::uint64_t m_memory;
    std::uint64_t m_output;
    std::uint64_t m_held = 0;
    const std::atomic<bool> *m_stop;
};

} // namespace kvilt::text::jinja
