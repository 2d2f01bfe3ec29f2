// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/api/conversation.h"
#include "engine/api/pool_view.h"
#include "engine/api/settings.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

// What a window says to the engine and hears from it. The window posts commands and pulls updates; neither
// side ever waits for the other. `app/worker` implements the port on one thread that owns the engine.
namespace kvilt::api {

namespace command {
struct LoadModel { std::string path; EngineSettings settings; };
struct UnloadModel {};
struct ProbeModel { std::string path; };               // reads the header only; answers update::ModelProbed
struct ScanModels { std::vector<std::string> folders; }; // answers update::ModelsFound
struct ListSessions { std::string query; };            // empty: all; answers update::Sessions
struct OpenSession { SessionId session; };             // answers update::SessionOpened
struct OpenLastSession {};                             // the one open at the last exit, or a new one
struct CreateSession { SessionSettings settings; };    // answers update::SessionOpened
struct RenameSession { SessionId session; std::string title; };
struct FileSession { SessionId session; std::string folder; std::vector<std::string> tags; };
struct DeleteSession { SessionId session; };           // hidden at once, gone after UndoDelete is impossible
struct UndoDelete { SessionId session; };
struct SetSessionSettings { SessionId session; SessionSettings settings; };
// Appends a user message under the live branch's tip and answers it, after the reply that is being written there if
// there is one. `dropOldest`: the user agreed to drop.
struct Send { SessionId session; std::string text; bool dropOldest = false; };
struct EditMessage { SessionId session; MessageId message; std::string text; }; // a new branch; a user message is answered again
struct Regenerate { SessionId session; MessageId message; };  // a new sibling of this reply
struct Continue { SessionId session; MessageId message; };    // goes on writing this reply
struct SwitchBranch { SessionId session; MessageId message; int branchIndex; };
struct DeleteMessage { SessionId session; MessageId message; };
struct UndoDeleteMessage { SessionId session; MessageId message; };
struct PinMessage { SessionId session; MessageId message; bool pinned; };
struct Stop { SessionId session; };
struct PreviewPrompt { SessionId session; std::string draft; }; // answers update::PromptPreview
struct InspectTurn { SessionId session; TurnId turn; };         // answers update::TurnInspected
struct DescribeBlock { GroupIndex group; BlockId block; };      // answers update::BlockDescribed
struct TokenSpans { SessionId session; MessageId message; };    // answers update::MessageSpans
struct PinBlocks { std::vector<NodeId> nodes; bool pinned; };
struct DropKv { SessionId session; };                  // drop KV, keep the text
struct RequestSnapshot {};                             // answers update::Snapshot
struct RequestRibbon { SessionId session; };           // answers update::RibbonChanged; sent by itself when it changes
enum class ExportFormat : std::uint8_t { markdown, json, kvilt };
struct ExportSession { SessionId session; std::string path; ExportFormat format; bool withKv = false; };
struct ImportSession { std::string path; };
struct ExportEvents { std::string path; std::string format; std::optional<SessionId> session; };
struct SetQuota { std::uint64_t bytes; };
// The blocks that were asked for since the model was loaded, played through every policy; answers update::PoliciesCompared.
struct ComparePolicies {};
} // namespace command

using Command = std::variant<
    command::LoadModel, command::UnloadModel, command::ProbeModel, command::ScanModels, command::ListSessions,
    command::OpenSession, command::OpenLastSession, command::CreateSession, command::RenameSession,
    command::FileSession, command::DeleteSession, command::UndoDelete, command::SetSessionSettings, command::Send,
    command::EditMessage, command::Regenerate, command::Continue, command::SwitchBranch, command::DeleteMessage,
    command::UndoDeleteMessage, command::PinMessage, command::Stop, command::PreviewPrompt, command::InspectTurn,
    command::DescribeBlock, command::TokenSpans, command::PinBlocks, command::DropKv, command::RequestSnapshot,
    command::RequestRibbon, command::ExportSession, command::ImportSession, command::ExportEvents,
    command::SetQuota, command::ComparePolicies>;

// A decode step reads the weights once; of the rate at which memory is read this much is reached (kvilt-cli bench).
inline constexpr double kDecodeShareOfReadRate = 0.85;

// What a model costs before it is loaded.
struct ModelFacts {
    std::string path;
    std::string name;            // general.name, or the file's
    std::string architecture;
    std::string quantisation;    // "Q4_1"
    std::uint64_t fileBytes = 0;
    std::uint64_t parameters = 0;
    std::uint32_t contextLength = 0;
    std::uint32_t layers = 0, vocabulary = 0;
    std::uint64_t kvBytesPerToken = 0;
    std::uint64_t longestContext = 0; // tokens that fit into the memory free now
    std::uint64_t missingBytes = 0;   // of memory, when not one fits
    double decodeTokensPerSecond = 0; // expected here, from the rate at which memory is read; 0: not known
    bool chatTemplate = false;
    bool usable = true;
    std::string problem;         // one sentence when not usable
};

namespace update {
enum class ModelPhase : std::uint8_t { none, loading, ready, failed };
struct ModelState {
    ModelPhase phase = ModelPhase::none;
    ModelFacts facts;
    EngineSettings settings;     // with every zero replaced by what was chosen
    std::string isa;             // "avx512-vnni"
    std::string device;          // "CPU" or the GPU's name
    double progress = 0;         // 0..1 while loading
    std::string problem;         // one sentence when failed
};
struct ModelProbed { ModelFacts facts; };
struct ModelsFound { std::vector<ModelFacts> models; int places = 0; };
// Sent once, before the first answer to ScanModels.
struct MachineFacts {
    std::uint64_t memoryBytes = 0, freeBytes = 0;
    double readBytesPerSecond = 0; // of a large array by all threads; 0: not measured
    std::string isa;               // of the kernels that a model would run on
    int threads = 0;
};
struct Sessions { std::string query; std::vector<SessionSummary> sessions; };
struct SessionOpened { Conversation conversation; bool busy = false; };
struct SessionClosed { SessionId session; };            // deleted
struct MessageAdded { SessionId session; Message message; }; // also: replaced, when the id is known
struct TextAppended { SessionId session; MessageId message; std::string text; };
enum class TurnPhase : std::uint8_t { queued, restoring, prefill, decode };
// A text that could not be stored: it belongs back into the box it came from. The reason comes as a Notice.
struct TextReturned { SessionId session; std::string text; };
struct TurnProgress {
    SessionId session;
    MessageId message;           // the reply being made
    TurnPhase phase = TurnPhase::queued;
    std::uint32_t promptTokens = 0, cachedTokens = 0, computedTokens = 0;
    double tokensPerSecond = 0;
    double secondsLeft = 0;
};
struct TurnFinished { SessionId session; Message message; };
struct PromptPreview {
    SessionId session;
    std::uint32_t promptTokens = 0, cachedTokens = 0, contextTokens = 0, replyReserve = 0;
    bool overflows = false;
    std::uint32_t dropMessages = 0, dropTokens = 0, recomputeTokens = 0; // if the oldest turns are dropped
    double recomputeSeconds = 0;
    std::uint32_t thinkingTokens = 0; // in thinking blocks of the branch
    double thinkingStripSeconds = 0;  // what stripping them costs to compute again
};
// Something that would make the next turn hit again: a sentence what it is, one what it brings, and the commands
// that do it. No commands: advice only.
struct Remedy { std::string title, effect; std::vector<Command> commands; };
struct TurnInspected { SessionId session; TurnReceipt receipt; int turnNumber = 0; int turns = 0;
                       std::vector<RibbonCell> asked, cached; std::string explanation; std::vector<Remedy> remedies;
                       std::string heldByTitle; }; // of receipt.miss.heldBy, another chat; empty: another branch of this one
// `holders`: the sessions whose running generations hold the block now.
struct BlockDescribed { GroupIndex group; BlockId block; BlockInfo info; std::string text; std::string ownerTitle;
                        std::vector<SessionId> holders; };
struct MessageSpans { SessionId session; MessageId message; std::vector<TokenSpan> spans; };
struct Snapshot { PoolSnapshot pool; };
struct RibbonChanged { Ribbon ribbon; };
struct Counts { PoolCounts counts; };
enum class Severity : std::uint8_t { info, warning, error };
// A sentence for the place it concerns: "session:<id>", "model", "storage", "export".
struct Notice { Severity severity = Severity::info; std::string place; std::string text; };
struct Exported { std::string path; };
struct PolicyOutcome {
    std::string policy;            // lru, fifo, lfu, belady
    std::uint64_t blocks = 0;      // size of the pool it was played with
    double hitRatio = 0;           // of the full blocks of all prompts
    std::uint64_t evictions = 0, regretted = 0;
};
struct PoliciesCompared {
    std::uint64_t requests = 0;    // prompts since the model was loaded
    std::uint64_t promptBlocks = 0;
    std::uint64_t capacity = 0;    // of the pool as it is
    std::string policy;            // as it is
    double unlimitedHitRatio = 0;  // of a pool that never evicts
    std::vector<PolicyOutcome> outcomes; // by size, largest first, then by policy
    std::string problem;           // one sentence when nothing could be compared
};
} // namespace update

using Update = std::variant<
    update::ModelState, update::ModelProbed, update::ModelsFound, update::Sessions, update::SessionOpened,
    update::SessionClosed, update::MessageAdded, update::TextAppended, update::TextReturned, update::TurnProgress,
    update::TurnFinished,
    update::PromptPreview, update::TurnInspected, update::BlockDescribed, update::MessageSpans, update::Snapshot,
    update::RibbonChanged, update::Counts, update::Notice, update::Exported, update::MachineFacts,
    update::PoliciesCompared>;

class EnginePort {
public:
    virtual ~EnginePort() = default;

    // Thread-safe, never blocks. Commands run in order; Stop overtakes everything else.
    virtual void post(Command command) = 0;

    // Moves out what has arrived since the last call, oldest first. One reader thread.
    virtual std::vector<Update> takeUpdates() = 0;

    // Moves out up to `limit` cache events. `lost` counts events dropped because the reader was slow: ask for a
    // snapshot then. One reader thread.
    virtual std::size_t takeEvents(std::vector<CacheEvent> &out, std::size_t limit, std::uint64_t &lost) = 0;

    // Called from the worker's thread when something waits, at most once until takeUpdates(), and at once from here, as
    // something may wait already. Must not block.
    virtual void setWakeup(std::function<void()> wakeup) = 0;
};

} // namespace kvilt::api
