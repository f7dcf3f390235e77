# A server, two users, Ada's workspace; Bob sees nothing of hers until she grants it.
port=${PORT:-5055}
ftzard mlflow-server --port "$port" --dir server > server.log 2>&1 &
server=$!
trap 'kill $server; wait $server || true' EXIT
until grep -q "Ctrl-C" server.log; do
    kill -0 $server || { cat server.log >&2; exit 1; }
    sleep 1
done
uri=$(grep -o "http://[^, ]*" server.log | head -n 1)
for name in ada bob; do
    FTZARD_NEW_PASSWORD=$(cat $name.password) ftzard mlflow-user add $name --server "$uri"
done
ftzard init workspace --data labelled.csv --text text --label label
python "$here/set_values.py" workspace example.yaml
echo "tracking: {uri: '$uri'}" > uri.yaml
python "$here/set_values.py" workspace uri.yaml
(umask 077; printf 'MLFLOW_TRACKING_USERNAME=ada\nMLFLOW_TRACKING_PASSWORD=%s\n' "$(cat ada.password)" > workspace/.env)
ftzard run training_pipeline_job -w workspace
ftzard mlflow-user grant bob --experiment ada_reviews --server "$uri"
ftzard mlflow-user list --server "$uri"
ftzard status -w workspace
