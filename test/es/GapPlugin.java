// SPDX-License-Identifier: Apache-2.0
package gaps;

import java.io.IOException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import org.apache.lucene.analysis.FilteringTokenFilter;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.email.UAX29URLEmailTokenizer;
import org.apache.lucene.analysis.pattern.PatternCaptureGroupTokenFilter;
import org.apache.lucene.analysis.tokenattributes.CharTermAttribute;
import org.apache.lucene.util.Version;
import org.elasticsearch.Build;
import org.elasticsearch.ResourceNotFoundException;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ActionRequest;
import org.elasticsearch.action.ActionRequestValidationException;
import org.elasticsearch.action.ActionResponse;
import org.elasticsearch.action.ActionType;
import org.elasticsearch.action.datastreams.CreateDataStreamAction;
import org.elasticsearch.action.datastreams.DataStreamsActionUtil;
import org.elasticsearch.action.datastreams.DeleteDataStreamAction;
import org.elasticsearch.action.datastreams.GetDataStreamAction;
import org.elasticsearch.action.datastreams.GetDataStreamAction.Response.DataStreamInfo;
import org.elasticsearch.action.support.ActionFilters;
import org.elasticsearch.action.support.TransportAction;
import org.elasticsearch.action.support.master.AcknowledgedResponse;
import org.elasticsearch.action.support.master.MasterNodeRequest;
import org.elasticsearch.action.support.master.TransportMasterNodeAction;
import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.cluster.AckedClusterStateUpdateTask;
import org.elasticsearch.cluster.ClusterState;
import org.elasticsearch.cluster.block.ClusterBlockException;
import org.elasticsearch.cluster.block.ClusterBlockLevel;
import org.elasticsearch.cluster.health.ClusterStateHealth;
import org.elasticsearch.cluster.metadata.DataStream;
import org.elasticsearch.cluster.metadata.IndexMetadata;
import org.elasticsearch.cluster.metadata.IndexNameExpressionResolver;
import org.elasticsearch.cluster.metadata.ItemUsage;
import org.elasticsearch.cluster.metadata.Metadata;
import org.elasticsearch.cluster.metadata.MetadataCreateDataStreamService;
import org.elasticsearch.cluster.metadata.MetadataDataStreamsService;
import org.elasticsearch.cluster.metadata.MetadataIndexTemplateService;
import org.elasticsearch.cluster.node.DiscoveryNodes;
import org.elasticsearch.cluster.service.ClusterService;
import org.elasticsearch.common.io.stream.NamedWriteableRegistry;
import org.elasticsearch.common.io.stream.StreamOutput;
import org.elasticsearch.common.io.stream.Writeable;
import org.elasticsearch.common.settings.ClusterSettings;
import org.elasticsearch.common.settings.IndexScopedSettings;
import org.elasticsearch.common.settings.Setting;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.common.settings.SettingsFilter;
import org.elasticsearch.common.util.concurrent.EsExecutors;
import org.elasticsearch.core.CheckedFunction;
import org.elasticsearch.core.TimeValue;
import org.elasticsearch.features.NodeFeature;
import org.elasticsearch.index.analysis.AbstractTokenFilterFactory;
import org.elasticsearch.index.analysis.PreConfiguredTokenFilter;
import org.elasticsearch.index.analysis.PreConfiguredTokenizer;
import org.elasticsearch.index.analysis.TokenFilterFactory;
import org.elasticsearch.indices.analysis.AnalysisModule;
import org.elasticsearch.injection.guice.Inject;
import org.elasticsearch.plugins.ActionPlugin;
import org.elasticsearch.plugins.AnalysisPlugin;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.rest.BaseRestHandler;
import org.elasticsearch.rest.RestChannel;
import org.elasticsearch.rest.RestController;
import org.elasticsearch.rest.RestHandler;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.RestUtils;
import org.elasticsearch.rest.action.RestChunkedToXContentListener;
import org.elasticsearch.rest.action.RestToXContentListener;
import org.elasticsearch.tasks.Task;
import org.elasticsearch.threadpool.ThreadPool;
import org.elasticsearch.transport.TransportService;
import org.elasticsearch.xcontent.NamedXContentRegistry;
import org.elasticsearch.xcontent.ParseField;
import org.elasticsearch.xcontent.ToXContentObject;
import org.elasticsearch.xcontent.XContentBuilder;
import org.elasticsearch.xcontent.XContentParser;
import org.elasticsearch.xpack.core.ilm.*;
import org.elasticsearch.xpack.core.ilm.action.DeleteLifecycleAction;
import org.elasticsearch.xpack.core.ilm.action.GetLifecycleAction;
import org.elasticsearch.xpack.core.ilm.action.ILMActions;
import org.elasticsearch.xpack.core.ilm.action.PutLifecycleRequest;

/**
 * Test-only. The Elasticsearch distribution published for integration tests has the server, x-pack-core and
 * x-pack-security, but lacks the modules rest-root, data-streams and x-pack-ilm, which hold little more than the
 * entry points below. This plugin adds those entry points under their usual action names (so privileges apply) on top
 * of the server's own data-stream code and x-pack-core's own policy parser. ILM policies are checked, stored and
 * returned, but no ILM step is ever run. It also has the three analysis components that the index holding API keys
 * and native users names in its settings, which come from the absent module analysis-common.
 */
public final class GapPlugin extends Plugin implements ActionPlugin, AnalysisPlugin {

    // ---- registration

    @Override
    public List<Setting<?>> getSettings() {
        return List.of(
            LifecycleSettings.LIFECYCLE_NAME_SETTING,
            LifecycleSettings.LIFECYCLE_INDEXING_COMPLETE_SETTING,
            LifecycleSettings.LIFECYCLE_SKIP_SETTING,
            LifecycleSettings.LIFECYCLE_POLL_INTERVAL_SETTING
        );
    }

    @Override
    public List<NamedXContentRegistry.Entry> getNamedXContent() {
        List<NamedXContentRegistry.Entry> all = new ArrayList<>();
        all.add(
            new NamedXContentRegistry.Entry(
                Metadata.Custom.class,
                new ParseField(IndexLifecycleMetadata.TYPE),
                p -> IndexLifecycleMetadata.PARSER.parse(p, null)
            )
        );
        all.add(
            new NamedXContentRegistry.Entry(
                LifecycleType.class,
                new ParseField(TimeseriesLifecycleType.TYPE),
                p -> TimeseriesLifecycleType.INSTANCE
            )
        );
        action(all, AllocateAction.NAME, AllocateAction::parse);
        action(all, DeleteAction.NAME, DeleteAction::parse);
        action(all, DownsampleAction.NAME, DownsampleAction::parse);
        action(all, ForceMergeAction.NAME, ForceMergeAction::parse);
        action(all, FreezeAction.NAME, FreezeAction::parse);
        action(all, MigrateAction.NAME, MigrateAction::parse);
        action(all, ReadOnlyAction.NAME, ReadOnlyAction::parse);
        action(all, RolloverAction.NAME, RolloverAction::parse);
        action(all, SearchableSnapshotAction.NAME, SearchableSnapshotAction::parse);
        action(all, SetPriorityAction.NAME, SetPriorityAction::parse);
        action(all, ShrinkAction.NAME, ShrinkAction::parse);
        action(all, UnfollowAction.NAME, UnfollowAction::parse);
        action(all, WaitForSnapshotAction.NAME, WaitForSnapshotAction::parse);
        return all;
    }

    private static void action(
        List<NamedXContentRegistry.Entry> all,
        String name,
        CheckedFunction<XContentParser, ? extends LifecycleAction, IOException> parse
    ) {
        all.add(new NamedXContentRegistry.Entry(LifecycleAction.class, new ParseField(name), parse));
    }

    @Override
    public Map<String, AnalysisModule.AnalysisProvider<TokenFilterFactory>> getTokenFilters() {
        return Map.of("pattern_capture", (index, env, name, settings) -> {
            boolean original = settings.getAsBoolean("preserve_original", true);
            Pattern[] patterns = settings.getAsList("patterns").stream().map(Pattern::compile).toArray(Pattern[]::new);
            return new AbstractTokenFilterFactory(name, settings) {
                @Override
                public TokenStream create(TokenStream in) {
                    return new PatternCaptureGroupTokenFilter(in, original, patterns);
                }
            };
        });
    }

    @Override
    public List<PreConfiguredTokenizer> getPreConfiguredTokenizers() {
        return List.of(PreConfiguredTokenizer.singleton("uax_url_email", UAX29URLEmailTokenizer::new));
    }

    @Override
    public List<PreConfiguredTokenFilter> getPreConfiguredTokenFilters() {
        return List.of(PreConfiguredTokenFilter.singleton("unique", false, Unique::new));
    }

    private static final class Unique extends FilteringTokenFilter {
        private final CharTermAttribute term = addAttribute(CharTermAttribute.class);
        private final Set<String> seen = new HashSet<>();

        Unique(TokenStream in) {
            super(in);
        }

        @Override
        protected boolean accept() {
            return seen.add(term.toString());
        }

        @Override
        public void reset() throws IOException {
            super.reset();
            seen.clear();
        }
    }

    @Override
    public Collection<ActionHandler<? extends ActionRequest, ? extends ActionResponse>> getActions() {
        return List.of(
            new ActionHandler<>(Main.TYPE, Main.class),
            new ActionHandler<>(CreateDataStreamAction.INSTANCE, CreateDataStream.class),
            new ActionHandler<>(GetDataStreamAction.INSTANCE, GetDataStream.class),
            new ActionHandler<>(DeleteDataStreamAction.INSTANCE, DeleteDataStream.class),
            new ActionHandler<>(ILMActions.PUT, PutPolicy.class),
            new ActionHandler<>(GetLifecycleAction.INSTANCE, GetPolicy.class),
            new ActionHandler<>(DeleteLifecycleAction.INSTANCE, DeletePolicy.class)
        );
    }

    @Override
    public Collection<RestHandler> getRestHandlers(
        Settings settings,
        NamedWriteableRegistry writeables,
        RestController controller,
        ClusterSettings clusterSettings,
        IndexScopedSettings indexSettings,
        SettingsFilter filter,
        IndexNameExpressionResolver resolver,
        Supplier<DiscoveryNodes> nodes,
        Predicate<NodeFeature> features
    ) {
        return List.of(
            new Rest("main", (r, c) -> ch -> c.execute(Main.TYPE, new Main.Request(), new RestToXContentListener<>(ch)), "GET /", "HEAD /"),
            new Rest("create_data_stream", (r, c) -> {
                var q = new CreateDataStreamAction.Request(masterTimeout(r), ackTimeout(r), r.param("name"));
                return ch -> c.execute(CreateDataStreamAction.INSTANCE, q, new RestToXContentListener<>(ch));
            }, "PUT /_data_stream/{name}"),
            new Rest("get_data_stream", (r, c) -> {
                var q = new GetDataStreamAction.Request(masterTimeout(r), r.paramAsStringArray("name", new String[] { "*" }));
                return ch -> c.execute(GetDataStreamAction.INSTANCE, q, new RestToXContentListener<>(ch));
            }, "GET /_data_stream", "GET /_data_stream/{name}"),
            new Rest("delete_data_stream", (r, c) -> {
                var q = new DeleteDataStreamAction.Request(masterTimeout(r), r.paramAsStringArray("name", new String[0]));
                return ch -> c.execute(DeleteDataStreamAction.INSTANCE, q, new RestToXContentListener<>(ch));
            }, "DELETE /_data_stream/{name}"),
            new Rest("put_lifecycle", (r, c) -> {
                String name = r.param("name");
                TimeValue master = masterTimeout(r), ack = ackTimeout(r);
                PutLifecycleRequest q;
                try (XContentParser p = r.contentParser()) {
                    q = PutLifecycleRequest.parseRequest(new PutLifecycleRequest.Factory() {
                        public PutLifecycleRequest create(LifecyclePolicy policy) {
                            return new PutLifecycleRequest(master, ack, policy);
                        }

                        public String getPolicyName() {
                            return name;
                        }
                    }, p);
                }
                return ch -> c.execute(ILMActions.PUT, q, new RestToXContentListener<>(ch));
            }, "PUT /_ilm/policy/{name}"),
            new Rest("get_lifecycle", (r, c) -> {
                var q = new GetLifecycleAction.Request(masterTimeout(r), ackTimeout(r), r.paramAsStringArray("name", new String[0]));
                return ch -> c.execute(GetLifecycleAction.INSTANCE, q, new RestChunkedToXContentListener<>(ch));
            }, "GET /_ilm/policy", "GET /_ilm/policy/{name}"),
            new Rest("delete_lifecycle", (r, c) -> {
                var q = new DeleteLifecycleAction.Request(masterTimeout(r), ackTimeout(r), r.param("name"));
                return ch -> c.execute(DeleteLifecycleAction.INSTANCE, q, new RestToXContentListener<>(ch));
            }, "DELETE /_ilm/policy/{name}")
        );
    }

    private static TimeValue masterTimeout(RestRequest r) {
        return RestUtils.getMasterNodeTimeout(r);
    }

    private static TimeValue ackTimeout(RestRequest r) {
        return RestUtils.getAckTimeout(r);
    }

    /** A REST handler from a name, a function and routes written "METHOD /path". */
    private static final class Rest extends BaseRestHandler {
        interface Reply {
            void on(RestChannel channel) throws Exception;
        }

        interface Prepare {
            Reply apply(RestRequest request, NodeClient client) throws IOException;
        }

        private final String name;
        private final Prepare prepare;
        private final List<Route> routes = new ArrayList<>();

        Rest(String name, Prepare prepare, String... routes) {
            this.name = name;
            this.prepare = prepare;
            for (String r : routes) {
                String[] parts = r.split(" ", 2);
                this.routes.add(new Route(RestRequest.Method.valueOf(parts[0]), parts[1]));
            }
        }

        @Override
        public String getName() {
            return "gaps_" + name;
        }

        @Override
        public List<Route> routes() {
            return routes;
        }

        @Override
        protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) throws IOException {
            Reply reply = prepare.apply(request, client);
            return reply::on;
        }
    }

    // ---- GET /

    public static final class Main extends TransportAction<Main.Request, Main.Response> {
        static final ActionType<Response> TYPE = new ActionType<>("cluster:monitor/main");

        public static final class Request extends ActionRequest {
            @Override
            public ActionRequestValidationException validate() {
                return null;
            }
        }

        public static final class Response extends ActionResponse implements ToXContentObject {
            private final String node;
            private final ClusterState state;

            Response(String node, ClusterState state) {
                this.node = node;
                this.state = state;
            }

            @Override
            public void writeTo(StreamOutput out) {
                throw new UnsupportedOperationException("single node only");
            }

            @Override
            public XContentBuilder toXContent(XContentBuilder b, Params params) throws IOException {
                Build build = Build.current();
                b.startObject().field("name", node).field("cluster_name", state.getClusterName().value());
                b.field("cluster_uuid", state.metadata().clusterUUID()).startObject("version");
                b.field("number", build.qualifiedVersion()).field("build_flavor", build.flavor());
                b.field("build_type", build.type().displayName()).field("build_hash", build.hash());
                b.field("build_date", build.date()).field("build_snapshot", build.isSnapshot());
                b.field("lucene_version", Version.LATEST.toString());
                b.field("minimum_wire_compatibility_version", build.minWireCompatVersion());
                b.field("minimum_index_compatibility_version", build.minIndexCompatVersion());
                return b.endObject().field("tagline", "You Know, for Search").endObject();
            }
        }

        private final ClusterService cluster;

        @Inject
        public Main(TransportService transport, ActionFilters filters, ClusterService cluster) {
            super(TYPE.name(), filters, transport.getTaskManager(), EsExecutors.DIRECT_EXECUTOR_SERVICE);
            this.cluster = cluster;
        }

        @Override
        protected void doExecute(Task task, Request request, ActionListener<Response> listener) {
            listener.onResponse(new Response(cluster.getNodeName(), cluster.state()));
        }
    }

    // ---- data streams

    public static final class CreateDataStream extends Master<CreateDataStreamAction.Request, AcknowledgedResponse> {
        private final MetadataCreateDataStreamService service;

        @Inject
        public CreateDataStream(
            TransportService t,
            ClusterService c,
            ThreadPool p,
            ActionFilters f,
            MetadataCreateDataStreamService service
        ) {
            super(CreateDataStreamAction.NAME, t, c, p, f, CreateDataStreamAction.Request::new, AcknowledgedResponse::readFrom);
            this.service = service;
        }

        @Override
        protected void run(CreateDataStreamAction.Request q, ClusterState s, ActionListener<AcknowledgedResponse> l) {
            service.createDataStream(
                new MetadataCreateDataStreamService.CreateDataStreamClusterStateUpdateRequest(
                    q.getName(),
                    q.getStartTime(),
                    null,
                    q.masterNodeTimeout(),
                    q.ackTimeout(),
                    true
                ),
                l
            );
        }
    }

    public static final class GetDataStream extends Master<GetDataStreamAction.Request, GetDataStreamAction.Response> {
        private final IndexNameExpressionResolver names;

        @Inject
        public GetDataStream(TransportService t, ClusterService c, ThreadPool p, ActionFilters f, IndexNameExpressionResolver names) {
            super(GetDataStreamAction.NAME, t, c, p, f, GetDataStreamAction.Request::new, GetDataStreamAction.Response::read);
            this.names = names;
        }

        @Override
        protected void run(GetDataStreamAction.Request q, ClusterState s, ActionListener<GetDataStreamAction.Response> l) {
            List<DataStreamInfo> infos = new ArrayList<>();
            for (String name : DataStreamsActionUtil.getDataStreamNames(names, s, q.getNames(), q.indicesOptions())) {
                DataStream ds = s.metadata().dataStreams().get(name);
                String template = MetadataIndexTemplateService.findV2Template(s.metadata(), name, false);
                Settings settings = template == null
                    ? Settings.EMPTY
                    : MetadataIndexTemplateService.resolveSettings(s.metadata(), template);
                String[] backing = ds.getIndices().stream().map(i -> i.getName()).toArray(String[]::new);
                infos.add(
                    new DataStreamInfo(
                        ds,
                        false,
                        new ClusterStateHealth(s, backing).getStatus(),
                        template,
                        settings.get(IndexMetadata.LIFECYCLE_NAME),
                        null,
                        Map.of(),
                        true,
                        null,
                        null
                    )
                );
            }
            infos.sort(Comparator.comparing(i -> i.getDataStream().getName()));
            l.onResponse(new GetDataStreamAction.Response(infos));
        }
    }

    public static final class DeleteDataStream extends Change<DeleteDataStreamAction.Request> {
        private final IndexNameExpressionResolver names;

        @Inject
        public DeleteDataStream(TransportService t, ClusterService c, ThreadPool p, ActionFilters f, IndexNameExpressionResolver names) {
            super(DeleteDataStreamAction.NAME, t, c, p, f, DeleteDataStreamAction.Request::new);
            this.names = names;
        }

        @Override
        protected ClusterState change(DeleteDataStreamAction.Request q, ClusterState s) {
            Set<DataStream> found = new HashSet<>();
            for (String name : DataStreamsActionUtil.getDataStreamNames(names, s, q.getNames(), q.indicesOptions())) {
                found.add(s.metadata().dataStreams().get(name));
            }
            return MetadataDataStreamsService.deleteDataStreams(s, found, clusterService.getSettings());
        }
    }

    // ---- ILM policies: checked, stored, returned, never run

    public static final class PutPolicy extends Change<PutLifecycleRequest> {
        @Inject
        public PutPolicy(TransportService t, ClusterService c, ThreadPool p, ActionFilters f) {
            super(ILMActions.PUT.name(), t, c, p, f, PutLifecycleRequest::new);
        }

        @Override
        protected ClusterState change(PutLifecycleRequest q, ClusterState s) {
            LifecyclePolicy policy = q.getPolicy();
            LifecyclePolicy.validatePolicyName(policy.getName());
            var all = policies(s);
            var old = all.get(policy.getName());
            long version = old == null ? 1 : old.getVersion() + 1;
            all.put(policy.getName(), new LifecyclePolicyMetadata(policy, Map.of(), version, Instant.now().toEpochMilli()));
            return with(s, all);
        }
    }

    public static final class DeletePolicy extends Change<DeleteLifecycleAction.Request> {
        @Inject
        public DeletePolicy(TransportService t, ClusterService c, ThreadPool p, ActionFilters f) {
            super(DeleteLifecycleAction.NAME, t, c, p, f, DeleteLifecycleAction.Request::new);
        }

        @Override
        protected ClusterState change(DeleteLifecycleAction.Request q, ClusterState s) {
            var all = policies(s);
            if (all.remove(q.getPolicyName()) == null) {
                throw new ResourceNotFoundException("Lifecycle policy not found: {}", q.getPolicyName());
            }
            return with(s, all);
        }
    }

    public static final class GetPolicy extends Master<GetLifecycleAction.Request, GetLifecycleAction.Response> {
        @Inject
        public GetPolicy(TransportService t, ClusterService c, ThreadPool p, ActionFilters f) {
            super(GetLifecycleAction.NAME, t, c, p, f, GetLifecycleAction.Request::new, GetLifecycleAction.Response::new);
        }

        @Override
        protected void run(GetLifecycleAction.Request q, ClusterState s, ActionListener<GetLifecycleAction.Response> l) {
            var all = policies(s);
            var wanted = q.getPolicyNames().length == 0 ? List.copyOf(all.keySet()) : List.of(q.getPolicyNames());
            List<GetLifecycleAction.LifecyclePolicyResponseItem> items = new ArrayList<>();
            for (String name : wanted) {
                LifecyclePolicyMetadata m = all.get(name);
                if (m == null) {
                    throw new ResourceNotFoundException("Lifecycle policy not found: {}", name);
                }
                items.add(
                    new GetLifecycleAction.LifecyclePolicyResponseItem(
                        m.getPolicy(),
                        m.getVersion(),
                        m.getModifiedDateString(),
                        new ItemUsage(List.of(), List.of(), List.of())
                    )
                );
            }
            l.onResponse(new GetLifecycleAction.Response(items));
        }
    }

    private static Map<String, LifecyclePolicyMetadata> policies(ClusterState s) {
        IndexLifecycleMetadata m = s.metadata().custom(IndexLifecycleMetadata.TYPE, IndexLifecycleMetadata.EMPTY);
        return new TreeMap<>(m.getPolicyMetadatas());
    }

    private static ClusterState with(ClusterState s, Map<String, LifecyclePolicyMetadata> all) {
        Metadata.Builder b = Metadata.builder(s.metadata());
        b.putCustom(IndexLifecycleMetadata.TYPE, new IndexLifecycleMetadata(all, OperationMode.RUNNING));
        return ClusterState.builder(s).metadata(b).build();
    }

    // ---- shared by the actions above

    abstract static class Master<Q extends MasterNodeRequest<Q>, A extends ActionResponse> extends TransportMasterNodeAction<Q, A> {
        Master(
            String name,
            TransportService t,
            ClusterService c,
            ThreadPool p,
            ActionFilters f,
            Writeable.Reader<Q> request,
            Writeable.Reader<A> response
        ) {
            super(name, t, c, p, f, request, response, EsExecutors.DIRECT_EXECUTOR_SERVICE);
        }

        protected abstract void run(Q request, ClusterState state, ActionListener<A> listener);

        @Override
        protected void masterOperation(Task task, Q request, ClusterState state, ActionListener<A> listener) {
            run(request, state, listener);
        }

        @Override
        protected ClusterBlockException checkBlock(Q request, ClusterState state) {
            return state.blocks().globalBlockedException(ClusterBlockLevel.METADATA_WRITE);
        }
    }

    abstract static class Change<Q extends MasterNodeRequest<Q>> extends Master<Q, AcknowledgedResponse> {
        Change(String name, TransportService t, ClusterService c, ThreadPool p, ActionFilters f, Writeable.Reader<Q> request) {
            super(name, t, c, p, f, request, AcknowledgedResponse::readFrom);
        }

        protected abstract ClusterState change(Q request, ClusterState state) throws Exception;

        @Override
        @SuppressWarnings("deprecation")
        protected void run(Q request, ClusterState ignored, ActionListener<AcknowledgedResponse> listener) {
            TimeValue timeout = request.masterNodeTimeout();
            clusterService.submitUnbatchedStateUpdateTask(actionName, new AckedClusterStateUpdateTask(timeout, timeout, listener) {
                @Override
                public ClusterState execute(ClusterState state) throws Exception {
                    return change(request, state);
                }
            });
        }
    }
}
