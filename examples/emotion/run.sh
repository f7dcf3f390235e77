# A model that gives each text any number of labels.
ftzard init workspace --task multi_label --data labelled.csv --text text --label label
python "$here/set_values.py" workspace example.yaml
ftzard run training_pipeline_job -w workspace
ftzard predict "mabado in kipofe heard the exam and is scared and gloomy" -w workspace
ftzard status -w workspace
