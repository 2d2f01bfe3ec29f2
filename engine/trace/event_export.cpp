// SPDX-License-Identifier: Apache-2.0
#include "engine/trace/event_export.h"

#include "engine/store/sqlite.h"
#include "engine/support/new_file.h"

#include <nlohmann/json.hpp>

#include <map>
#include <memory>

namespace kvilt::trace {

namespace {

using nlohmann::ordered_json;

ordered_json document(const api::CacheEvent &e)
{
    ordered_json out;
    out["sequence_number"] = e.sequenceNumber;
    out["time_ns"] = e.timeNs;
    out["node"] = e.node;
    out["sequence"] = e.sequence;
    out["turn"] = e.turn;
    out["session"] = e.session;
    out["block"] = e.block == kNoBlock.value ? ordered_json(nullptr) : ordered_json(e.block);
    out["references"] = e.references;
    out["group"] = e.group;
    out["kind"] = toString(e.kind);
    out["reason"] = toString(e.reason);
    out["tier"] = toString(e.tier);
    out["a"] = e.a;
    out["b"] = e.b;
    return out;
}

// What an export writes to; the end is written once all events came.
class Writer {
public:
    virtual ~Writer() = default;
    virtual Result<void> add(const api::CacheEvent &event) = 0;
    virtual Result<void> finish() = 0; // and closes what is its own
};

class TextWriter : public Writer {
public:
    explicit TextWriter(NewFile &file) : m_file(file) {}

protected:
    Result<void> put(const std::string &text) { return m_file.write(text); }
    const char *separator()
    {
        const bool first = m_first;
        m_first = false;
        return first ? "\n" : ",\n";
    }

private:
    NewFile &m_file;
    bool m_first = true;
};

class JsonWriter final : public TextWriter {
public:
    JsonWriter(NewFile &file, bool lines) : TextWriter(file), m_lines(lines) {}
    Result<void> add(const api::CacheEvent &event) override
    {
        if (m_lines)
            return put(toJson(event) + "\n");
        const std::string open = m_any ? "" : "[";
        m_any = true;
        return put(open + separator() + toJson(event));
    }
    Result<void> finish() override
    {
        return m_lines ? Result<void>() : put(m_any ? "\n]\n" : "[]\n");
    }

private:
    bool m_lines;
    bool m_any = false;
};

// Instant events on a track a session (process) and generation (thread); a restore is a slice as long as it took;
// blocks in use are a counter.
class PerfettoWriter final : public TextWriter {
public:
    using TextWriter::TextWriter;
    Result<void> add(const api::CacheEvent &e) override
    {
        KVILT_TRY_VOID(open());
        ordered_json slice = {{"name", toString(e.kind)}, {"cat", "kv"}, {"pid", e.session}, {"tid", e.sequence}};
        const double microseconds = double(e.timeNs) / 1000.0;
        if (e.kind == api::EventKind::restore) {
            slice["ph"] = "X";
            slice["ts"] = microseconds - e.b;
            slice["dur"] = e.b;
        } else {
            slice["ph"] = "i";
            slice["s"] = "t";
            slice["ts"] = microseconds;
        }
        slice["args"] = document(e);
        KVILT_TRY_VOID(put(separator() + slice.dump()));
        return count(e, microseconds);
    }
    Result<void> finish() override
    {
        KVILT_TRY_VOID(open());
        return put("\n]}\n");
    }

private:
    Result<void> open()
    {
        if (std::exchange(m_open, true))
            return {};
        return put("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[");
    }
    Result<void> count(const api::CacheEvent &e, double microseconds)
    {
        if (e.block == kNoBlock.value)
            return {};
        auto &references = m_references[{e.group, e.block}];
        if ((references == 0) == (e.references == 0))
            return {};
        references = e.references;
        m_inUse += references ? 1 : -1;
        const ordered_json counter = {{"name", "blocks in use"}, {"ph", "C"}, {"pid", 0}, {"ts", microseconds},
                                      {"args", {{"blocks", m_inUse}}}};
        return put(separator() + counter.dump());
    }
    bool m_open = false;
    std::map<std::pair<std::uint16_t, std::uint32_t>, std::uint16_t> m_references;
    std::int64_t m_inUse = 0;
};

class SqliteWriter final : public Writer {
public:
    explicit SqliteWriter(const std::filesystem::path &file) : m_file(file) {}
    Result<void> add(const api::CacheEvent &e) override
    {
        KVILT_TRY_VOID(open());
        KVILT_TRY(auto insert,
                  m_db->statement("INSERT INTO event VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)"));
        insert.bind(e.sequenceNumber, e.timeNs, e.node, e.sequence, e.turn, e.session,
                    e.block == kNoBlock.value ? std::int64_t(-1) : std::int64_t(e.block), int(e.references),
                    int(e.group), toString(e.kind), toString(e.reason), toString(e.tier), e.a, e.b);
        return insert.run();
    }
    Result<void> finish() override
    {
        KVILT_TRY_VOID(open());
        KVILT_TRY_VOID(m_db->exec("COMMIT; CREATE INDEX event_by_turn ON event(turn)"));
        m_db.reset();
        return {};
    }

private:
    Result<void> open()
    {
        if (m_db)
            return {};
        KVILT_TRY(m_db, store::sql::Database::open(m_file, {}));
        return m_db->exec("CREATE TABLE event(sequence_number INTEGER PRIMARY KEY, time_ns INTEGER, node INTEGER,"
                          " sequence INTEGER, turn INTEGER, session INTEGER, block INTEGER, \"references\" INTEGER,"
                          " \"group\" INTEGER, kind TEXT, reason TEXT, tier TEXT, a INTEGER, b INTEGER); BEGIN");
    }
    std::filesystem::path m_file;
    std::unique_ptr<store::sql::Database> m_db;
};

std::unique_ptr<Writer> makeWriter(NewFile &file, ExportFormat format)
{
    switch (format) {
    case ExportFormat::json: return std::make_unique<JsonWriter>(file, false);
    case ExportFormat::jsonLines: return std::make_unique<JsonWriter>(file, true);
    case ExportFormat::perfetto: return std::make_unique<PerfettoWriter>(file);
    case ExportFormat::sqlite: return std::make_unique<SqliteWriter>(file.temporary());
    }
    return nullptr;
}

Result<Exported> writeAll(const EventSource &source, Writer &writer)
{
    Exported done;
    Result<void> state;
    KVILT_TRY_VOID(source([&](const api::CacheEvent &event) {
        if (state)
            state = writer.add(event);
        ++done.events;
    }));
    KVILT_TRY_VOID(std::move(state));
    KVILT_TRY_VOID(writer.finish());
    return done;
}

} // namespace

std::optional<ExportFormat> exportFormatFrom(std::string_view name)
{
    if (name == "json")
        return ExportFormat::json;
    if (name == "jsonl")
        return ExportFormat::jsonLines;
    if (name == "perfetto")
        return ExportFormat::perfetto;
    if (name == "sqlite")
        return ExportFormat::sqlite;
    return std::nullopt;
}

std::string toJson(const api::CacheEvent &event) { return document(event).dump(); }

Result<Exported> exportEvents(const EventSource &source, const std::filesystem::path &file, ExportFormat format)
{
    KVILT_TRY(NewFile out, NewFile::create(file));
    KVILT_TRY(const Exported done, writeAll(source, *makeWriter(out, format)));
    KVILT_TRY_VOID(out.commit());
    return done;
}

} // namespace kvilt::trace
